"""Metrics that need no network: plain functions, and each one as an `evaluate` module.

`accuracy(references, predictions)` and `Accuracy().compute(references=…, predictions=…)` are the
same number. The modules add what `evaluate` needs, and refuse what it would quietly cast. Undefined
is None, never 0.0 or NaN. An average over classes leaves out those that are in neither the
references nor the predictions; a class that is in only one of them counts as 0.
"""

import functools
import inspect
import re
import shutil
import tempfile
import uuid
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import ConfigError, DataError, HubError

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]
Tags = Sequence[Sequence[str]]
Scores = dict[str, Any]

AVERAGES = ("macro", "micro", "weighted", None)
TAG = re.compile(r"O|[BI]-[^-](.*[^-])?", re.DOTALL)  # seqeval loses a dash at either end of a type
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def accuracy(references: Ids, predictions: Ids) -> Scores:
    """Compute the share of rows whose class was predicted."""
    from sklearn import metrics as sk  # here and below: a run needs none of it, and it takes a second

    return {"accuracy": float(sk.accuracy_score(references, predictions))}


def balanced_accuracy(references: Ids, predictions: Ids) -> Scores:
    """Compute the mean recall of the classes that occur in the references."""
    from sklearn import metrics as sk

    # balanced_accuracy_score would warn of a class that occurs in the predictions only.
    present = np.unique(references)
    value = sk.recall_score(references, predictions, labels=present, average="macro", zero_division=0)
    return {"balanced_accuracy": float(value)}


def class_average(
    name: str,
    references: Ids,
    predictions: Ids,
    *,
    labels: Sequence[int],
    average: str | None = "macro",
) -> Scores:
    """Compute "precision", "recall" or "f1" over `labels`; for each of them where `average` is None.

    Example:
        >>> class_average("f1", np.array([0, 0, 1]), np.array([0, 1, 1]), labels=range(3))
        {'f1_macro': 0.6666666666666666}
        >>> class_average("recall", np.array([0, 0, 1]), np.array([0, 1, 1]), labels=range(3), average=None)
        {'recall': [0.5, 1.0, None]}
    """
    from sklearn import metrics as sk

    place = ("precision", "recall", "f1").index(name)
    score = functools.partial(sk.precision_recall_fscore_support, references, predictions)
    if average is None:
        values = score(labels=list(labels), zero_division=np.nan)[place]
        return {name: [None if np.isnan(value) else float(value) for value in values]}
    present = np.intersect1d(labels, np.union1d(references, predictions))
    return {f"{name}_{average}": float(score(labels=present, average=average, zero_division=0)[place])}


def matthews_correlation(references: Ids, predictions: Ids) -> Scores:
    """Compute Matthews' correlation; None if the references or the predictions are all one class."""
    if np.ptp(references) == 0 or np.ptp(predictions) == 0:
        return {"mcc": None}
    from sklearn import metrics as sk

    return {"mcc": float(sk.matthews_corrcoef(references, predictions))}


def roc_auc(references: Ids, prediction_scores: Floats) -> Scores:
    """Compute the area under the ROC curve: each class against the rest, averaged over classes.

    Two classes share one curve. A class that is in no row or in every row has none and is left out.
    """
    columns = np.arange(prediction_scores.shape[1]) if prediction_scores.shape[1] > 2 else np.array([1])
    positive = references[:, None] == columns
    num_positive = positive.sum(0)
    defined = (num_positive > 0) & (num_positive < len(references))
    if not defined.any():
        return {"roc_auc": None}
    # The area is Mann and Whitney's U: the share of pairs in the right order, ties half.
    ranks = np.column_stack([_ranks(prediction_scores[:, column]) for column in columns])
    above = (ranks * positive).sum(0) - num_positive * (num_positive + 1) / 2
    areas = above[defined] / (num_positive * (len(references) - num_positive))[defined]
    return {"roc_auc": float(areas.mean())}


def _ranks(values: Floats) -> Floats:
    """Give the place of each value in order, from 1; equal values share the mean of theirs."""
    order = np.sort(values)
    ranks: Floats = (np.searchsorted(order, values) + np.searchsorted(order, values, "right") + 1) / 2
    return ranks


def log_loss(references: Ids, prediction_scores: Floats) -> Scores:
    """Compute the mean of -ln p of the true class.

    Raises:
        DataError: If a row of `prediction_scores` is not probabilities.
    """
    sums, smallest = prediction_scores.sum(axis=1), prediction_scores.min()
    if smallest < 0 or abs(sums - 1).max() > 1e-3:
        raise DataError(
            f"prediction_scores must be probabilities that add up to 1 in each row; their sums go from "
            f"{sums.min():.4g} to {sums.max():.4g}, the smallest is {smallest:.4g}. Pass softmax(logits)."
        )
    return {"log_loss": float(row_losses(references, prediction_scores).mean())}


def row_losses(references: Ids, probabilities: Floats) -> Floats:
    """Give -ln p of the true class of each row, at most 708.

    scikit-learn clips p, so that being wrong and sure of it costs 36 at most.
    """
    chosen = probabilities[np.arange(len(references)), references]
    losses: Floats = -np.log(np.maximum(chosen, np.finfo(np.float64).tiny))
    return losses


def confusion_matrix(references: Ids, predictions: Ids, *, labels: Sequence[int]) -> Scores:
    """Count rows by true class (down) and predicted class (across), in the order of `labels`."""
    from sklearn import metrics as sk

    return {"confusion_matrix": sk.confusion_matrix(references, predictions, labels=list(labels)).tolist()}


def entity_scores(references: Tags, predictions: Tags) -> Scores:
    """Score entities as seqeval does in strict mode under IOB2, and tags by accuracy.

    An entity is right when its type and both ends are; a predicted I- that continues nothing is no
    entity. `entities` holds the scores and the support of each type that occurs.

    Raises:
        ConfigError: If seqeval is not installed.
    """
    try:
        from seqeval.scheme import IOB2, Entities
    except ImportError as missing:
        raise ConfigError(
            'Scoring entities needs seqeval, which is not installed. Run: pip install "hf-transfer-kit[text]"'
        ) from missing
    true, found = Entities(references, IOB2), Entities(predictions, IOB2)
    counts = [(0, 0, 0)]
    entities: dict[str, Scores] = {}
    for name in sorted(true.unique_tags | found.unique_tags):
        gold, guessed = true.filter(name), found.filter(name)
        counts.append((len(gold & guessed), len(guessed), len(gold)))
        entities[name] = {**ratios(*counts[-1]), "support": len(gold)}
    hits = [a == b for row in zip(references, predictions, strict=True) for a, b in zip(*row, strict=True)]
    overall = ratios(*map(sum, zip(*counts, strict=True)))
    return {**overall, "accuracy": float(np.mean(hits)) if hits else None, "entities": entities}


def ratios(hits: float, predicted: float, support: float) -> dict[str, float | None]:
    """Give precision, recall and F1 of these counts; None where there was nothing to count."""
    return {
        "precision": float(hits / predicted) if predicted else None,
        "recall": float(hits / support) if support else None,
        "f1": float(2 * hits / (predicted + support)) if predicted + support else None,
    }


def class_ids(values: Any, name: str, labels: Sequence[int] | None = None) -> Ids:
    """Check that `values` is a flat list of class ids, from `labels` if given; give it as an array.

    Raises:
        DataError: If it holds anything but whole numbers from 0, or a number outside `labels`.
    """
    array = _array(values, name)
    if array.ndim != 1:
        raise DataError(
            f"{name} must be class ids, one a row, got an array of shape {array.shape}. "
            "Of logits or probabilities pass the argmax over the last axis."
        )
    strange = _no_whole_numbers(values, array)
    if strange:
        raise DataError(
            f"{name} must be class ids, whole numbers from 0, got {strange[0]!r}. "
            "Of probabilities pass the argmax, of label names the place in label_names."
        )
    outside = array[array < 0 if labels is None else ~np.isin(array, labels)]
    if outside.size:
        allowed = "from 0" if labels is None else f"from {min(labels)} to {max(labels)}"
        raise DataError(
            f"{name} holds {int(outside[0])}; {outside.size} of {array.size} entries are out of range. "
            f"Class ids go {allowed}. Drop what is not to be scored, such as -100, first."
        )
    return array.astype(np.int64)


def _no_whole_numbers(values: Any, array: NDArray[Any]) -> list[Any]:
    """What of a flat list or array is not a whole number."""
    whole = array.dtype.kind in "iu"
    if isinstance(
        values, list | tuple
    ):  # of which NumPy casts a truth value among whole numbers without a word
        kinds = object if whole else int | np.integer
        return [v for v in values if isinstance(v, bool | np.bool_) or not isinstance(v, kinds)]
    return [] if whole else [v for v in array.tolist() if isinstance(v, bool) or not isinstance(v, int)]


def class_scores(values: Any, name: str) -> Floats:
    """Check that `values` is finite scores (n, c), or of class 1 of two (n,); give it as (n, c).

    Raises:
        DataError: If it is anything else.
    """
    array = _array(values, name)
    if array.size and (array.dtype.kind not in "iuf" or array.ndim not in (1, 2)):
        raise DataError(
            f"{name} must be numbers, one a row and class, got {array.dtype} of shape {array.shape}. "
            "Pass softmax(logits)."
        )
    if array.size and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise DataError(f"{name} holds {array[row].tolist()} in row {row}. Scores must be finite numbers.")
    scores = array.astype(np.float64)
    return np.stack([1 - scores, scores], axis=1) if scores.ndim == 1 else scores


def _array(values: Any, name: str) -> NDArray[Any]:
    if values is None:
        raise DataError(f"{name} is missing. Pass {name}=…, one entry a row.")
    try:
        return np.asarray(values)
    except ValueError as ragged:
        raise DataError(f"{name} has rows of different length. Give every row the same.") from ragged


def tag_columns(references: Any, predictions: Any) -> tuple[list[list[str]], list[list[str]]]:
    """Check that both are lists of IOB2 tags, row by row of one length, and give them as lists.

    Predictions may hold an I- that continues nothing; references may not, as that entity would be lost.

    Raises:
        DataError: If they are anything else.
    """
    columns = _tag_rows(references, "references"), _tag_rows(predictions, "predictions")
    for i, (reference, prediction) in enumerate(zip(*columns, strict=False)):
        same_length({"references": reference, "predictions": prediction}, f"row {i}")
        for before, tag in zip(["O", *reference], reference, strict=False):
            if tag[0] == "I" and before[1:] != tag[1:]:
                raise DataError(
                    f"references hold {tag!r} after {before!r} in row {i}. In IOB2 an entity starts with "
                    f"B-{tag[2:]}; convert the tags first."
                )
    return columns


def _tag_rows(values: Any, name: str) -> list[list[str]]:
    if values is None or not all(isinstance(row, list | tuple | np.ndarray) for row in values):
        raise DataError(f"{name} must be a list of tags a row, such as [['B-PER', 'O']], got {values!r:.80}.")
    rows = [list(row) for row in values]
    for tag in {tag if isinstance(tag, str) else repr(tag) for row in rows for tag in row}:
        if not TAG.fullmatch(tag):
            raise DataError(f"{name} hold {tag!r}. Tags are O, B-type or I-type in words, such as B-PER.")
    return rows


def _checked_ids(batch: Scores, labels: Sequence[int] | None) -> Scores:
    return {name: class_ids(batch.get(name), name, labels) for name in ("predictions", "references")}


def _checked_scores(batch: Scores, labels: Sequence[int] | None) -> Scores:
    scores = class_scores(batch.get("prediction_scores"), "prediction_scores")
    ids = class_ids(batch.get("references"), "references", range(scores.shape[1]))
    return {"prediction_scores": scores, "references": ids}


def _checked_tags(batch: Scores, labels: Sequence[int] | None) -> Scores:
    references, predictions = tag_columns(batch.get("references"), batch.get("predictions"))
    return {"predictions": predictions, "references": references}


def same_length(columns: Mapping[str, Sequence[Any]], where: str = "the batch") -> None:
    """Raise `DataError` unless all columns have as many entries."""
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"Expected as many entries in each column of {where}, got {lengths}.")


# Name of each module, what checks its rows, and the function that its compute() calls.
_MODULES: dict[str, tuple[Callable[..., Scores], Callable[..., Scores]]] = {
    "Accuracy": (_checked_ids, accuracy),
    "BalancedAccuracy": (_checked_ids, balanced_accuracy),
    "Precision": (_checked_ids, functools.partial(class_average, "precision")),
    "Recall": (_checked_ids, functools.partial(class_average, "recall")),
    "F1": (_checked_ids, functools.partial(class_average, "f1")),
    "MatthewsCorrelation": (_checked_ids, matthews_correlation),
    "RocAuc": (_checked_scores, roc_auc),
    "LogLoss": (_checked_scores, log_loss),
    "ConfusionMatrix": (_checked_ids, confusion_matrix),
    "SeqEval": (_checked_tags, entity_scores),
}


def __getattr__(name: str) -> Any:
    if name not in {"KitMetric", *_MODULES}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import evaluate  # not at the top: it imports transformers, and so torch

    place = {"__module__": __name__}
    base = type("KitMetric", (_KitMetric, evaluate.Metric), {**place, "__doc__": _KitMetric.__doc__})
    globals()["KitMetric"] = base
    for module, (check, function) in _MODULES.items():
        doc = getattr(function, "func", function).__doc__  # a partial has that of functools.partial
        own = {"check": staticmethod(check), "function": staticmethod(function), "__doc__": doc}
        globals()[module] = type(module, (base,), {**place, **own})
    return globals()[name]


class _KitMetric:
    """An `evaluate.Metric` that checks its rows first and leaves nothing on the disk.

    Its options are those of the function it calls: `F1(labels=range(3), average="micro")`. Make one
    for each evaluation; of several processes, gather the rows and compute on one.
    """

    check: Callable[..., Scores]
    function: Callable[..., Scores]

    def __init__(self, **options: Any) -> None:
        from evaluate import Metric

        self.options = self._checked_options(options)
        # Metric makes a folder even when it keeps all in memory; HF_HOME may be read-only.
        folder = tempfile.mkdtemp(prefix="hf-transfer-metric-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        name = uuid.uuid4().hex
        Metric.__init__(
            self, keep_in_memory=True, num_process=1, cache_dir=folder, experiment_id=name, seed=0
        )
        for method in ("add", "add_batch", "compute"):
            del self.__dict__[method]  # bound copies, a cycle that would keep the folder for long

    def _checked_options(self, options: Scores) -> Scores:
        parameters = inspect.signature(self.function).parameters.values()
        takes = {option.name: option.default for option in parameters if option.kind is option.KEYWORD_ONLY}
        missing = [name for name, default in takes.items() if default is inspect.Parameter.empty]
        if not set(missing) <= set(options) <= set(takes):
            raise ConfigError(
                f"{type(self).__name__} takes {sorted(takes) or 'no options'} and needs {missing or 'none'}, "
                f"got {sorted(options)}."
            )
        if options.get("average") not in AVERAGES:
            raise ConfigError(f"average must be one of {AVERAGES}, got {options['average']!r}.")
        return options

    def _info(self) -> Any:
        from datasets import Features, List, Value
        from evaluate import MetricInfo

        number, tags = Value("int64"), List(Value("string"))
        inputs = {
            _checked_ids: {"predictions": number, "references": number},
            _checked_scores: {"prediction_scores": List(Value("float64")), "references": number},
            _checked_tags: {"predictions": tags, "references": tags},
        }
        return MetricInfo(
            description=type(self).__doc__ or "", citation="", features=Features(inputs[self.check])
        )

    def add(self, *, prediction: Any = None, reference: Any = None, **more: Any) -> None:
        """Add one row."""
        row = {"predictions": prediction, "references": reference, **more}
        self.add_batch(**{name: [value] for name, value in row.items() if value is not None})

    def add_batch(self, **batch: Any) -> None:
        """Add rows, after checking that they are what this metric takes."""
        from evaluate import Metric

        checked = self.check(batch, self.options.get("labels"))
        same_length(checked)
        Metric.add_batch(self, **checked)

    def compute(self, *, predictions: Any = None, references: Any = None, **more: Any) -> Scores:
        """Compute the scores of the rows added so far, or of those given here."""
        from evaluate import Metric

        if set(more) - {"prediction_scores"}:
            raise ConfigError(
                f"Options belong to {type(self).__name__}(…), not to compute(): {sorted(more)}."
            )
        # evaluate.combine gives every metric the inputs of all of them.
        batch = {"predictions": predictions, "references": references, **more}
        if any(value is not None for value in batch.values()):
            self.add_batch(**batch)
        if not len(self):  # type: ignore[arg-type]
            raise DataError(f"{type(self).__name__} was given no rows. Add some with add_batch() first.")
        scores: Scores = Metric.compute(self)
        return scores

    def _compute(self, **inputs: Any) -> Scores:
        if self.check is _checked_tags:
            return self.function(**inputs)
        return self.function(**{name: np.asarray(column) for name, column in inputs.items()}, **self.options)


def hub_metric(name: str, *, revision: str | None = None) -> Any:
    """Fetch an `evaluate` metric of the Hub. Its code runs here, and does not check what it is given.

    Args:
        name: Such as "bleu" or "owner/name".
        revision: Branch, tag or commit.

    Raises:
        ConfigError: If `name` is no Hub name or also a local path, whose code evaluate would run
            instead; or if the metric needs a package that is not installed.
        HubError: If the Hub cannot be reached or has no such metric.
    """
    if not HUB_NAME.fullmatch(name) or ".." in name:
        raise ConfigError(f"{name!r} is not the name of a metric on the Hub, such as 'bleu' or 'owner/name'.")
    if Path(name).exists():
        raise ConfigError(
            f"{name!r} is also a path in {Path.cwd()}, and evaluate would run the code in it. "
            "Start from another folder, or rename it."
        )
    import evaluate

    try:
        return evaluate.load(name, revision=revision, keep_in_memory=True, experiment_id=uuid.uuid4().hex)
    except ImportError as missing:
        raise ConfigError(
            f"The metric {name!r} needs a package that is not installed: {missing}."
        ) from missing
    except OSError as error:
        raise HubError(
            f"The metric {name!r} could not be fetched: the Hub has none of that name, or cannot be reached. "
            "The metrics in hf_transfer.scores.metrics need no network."
        ) from error
