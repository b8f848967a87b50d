"""The kit's metrics as `evaluate` modules, and metrics from the Hub.

`Accuracy().compute(references=…, predictions=…)` is the same number as `accuracy(references, predictions)`.
The modules add what `evaluate` needs, and refuse what it would quietly cast.
"""

import functools
import inspect
import shutil
import tempfile
import uuid
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import ConfigError, DataError, HubError
from hf_transfer.machine.network import HUB_ID
from hf_transfer.scores.metrics import (
    AVERAGES,
    Scores,
    accuracy,
    balanced_accuracy,
    class_average,
    class_ids,
    class_scores,
    confusion_matrix,
    entity_scores,
    log_loss,
    matthews_correlation,
    roc_auc,
    same_length,
    tag_columns,
)
from hf_transfer.scores.number_metrics import (
    finite_numbers,
    mean_absolute_error,
    pearson,
    r_squared,
    root_mean_squared_error,
    spearman,
)
from hf_transfer.scores.set_metrics import (
    average_precision,
    exact_match,
    hamming_loss,
    marked,
    set_f1,
    set_roc_auc,
)


def _checked_ids(batch: Scores, labels: Sequence[int] | None) -> Scores:
    return {name: class_ids(batch.get(name), name, labels) for name in ("predictions", "references")}


def _checked_scores(batch: Scores, labels: Sequence[int] | None) -> Scores:
    scores = class_scores(batch.get("prediction_scores"), "prediction_scores")
    ids = class_ids(batch.get("references"), "references", range(scores.shape[1]))
    return {"prediction_scores": scores, "references": ids}


def _checked_tags(batch: Scores, labels: Sequence[int] | None) -> Scores:
    references, predictions = tag_columns(batch.get("references"), batch.get("predictions"))
    return {"predictions": predictions, "references": references}


def _checked_numbers(batch: Scores, labels: Sequence[int] | None) -> Scores:
    return {name: finite_numbers(batch.get(name), name) for name in ("predictions", "references")}


def _checked_marks(batch: Scores, labels: Sequence[int] | None) -> Scores:
    return {name: marked(batch.get(name), name) for name in ("predictions", "references")}


def _checked_set_scores(batch: Scores, labels: Sequence[int] | None) -> Scores:
    scores = class_scores(batch.get("prediction_scores"), "prediction_scores")
    return {"prediction_scores": scores, "references": marked(batch.get("references"), "references")}


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
    "MeanAbsoluteError": (_checked_numbers, mean_absolute_error),
    "RootMeanSquaredError": (_checked_numbers, root_mean_squared_error),
    "RSquared": (_checked_numbers, r_squared),
    "Pearson": (_checked_numbers, pearson),
    "Spearman": (_checked_numbers, spearman),
    "SetF1": (_checked_marks, set_f1),
    "HammingLoss": (_checked_marks, hamming_loss),
    "ExactMatch": (_checked_marks, exact_match),
    "AveragePrecision": (_checked_set_scores, average_precision),
    "SetRocAuc": (_checked_set_scores, set_roc_auc),
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
    """An `evaluate.Metric` that checks its rows first and writes nothing to disk.

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

        number, real, tags = Value("int64"), Value("float64"), List(Value("string"))
        marks = List(Value("bool"))
        inputs = {
            _checked_numbers: {"predictions": real, "references": real},
            _checked_marks: {"predictions": marks, "references": marks},
            _checked_set_scores: {"prediction_scores": List(real), "references": marks},
            _checked_ids: {"predictions": number, "references": number},
            _checked_scores: {"prediction_scores": List(real), "references": number},
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
    """Load an `evaluate` metric from the Hub. It runs the Hub's code, which does not check its input.

    Args:
        name: Such as "bleu" or "owner/name".
        revision: Branch, tag or commit.

    Raises:
        ConfigError: If `name` is no Hub name or also a local path, whose code evaluate would run
            instead; or if the metric needs a package that is not installed.
        HubError: If the Hub cannot be reached or has no such metric.
    """
    if not HUB_ID.fullmatch(name):
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
            "The metrics in hf_transfer.scores.evaluate_modules need no network."
        ) from error
