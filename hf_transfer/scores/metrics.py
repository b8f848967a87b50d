"""Metrics that need no network, as plain functions.

Undefined is None, never 0.0 or NaN. An average over classes leaves out those that are in neither the
references nor the predictions; a class that is in only one of them counts as 0.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import ConfigError, DataError

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]
Tags = Sequence[Sequence[str]]
Scores = dict[str, Any]

AVERAGES = ("macro", "micro", "weighted", None)
TAG = re.compile(r"O|[BI]-[^-](.*[^-])?", re.DOTALL)  # seqeval loses a dash at either end of a type


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
    """Ranks from 1; ties share their mean rank."""
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
    """-ln p of the true class of each row, at most 708.

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
    """Precision, recall and F1 from counts; None where undefined."""
    return {
        "precision": float(hits / predicted) if predicted else None,
        "recall": float(hits / support) if support else None,
        "f1": float(2 * hits / (predicted + support)) if predicted + support else None,
    }


def class_ids(values: Any, name: str, labels: Sequence[int] | None = None) -> Ids:
    """Check that `values` is a flat list of class ids, from `labels` if given; return an array.

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
    """The entries of a flat list or array that are not whole numbers."""
    whole = array.dtype.kind in "iu"
    if isinstance(
        values, list | tuple
    ):  # of which NumPy casts a truth value among whole numbers without a word
        kinds = object if whole else int | np.integer
        return [v for v in values if isinstance(v, bool | np.bool_) or not isinstance(v, kinds)]
    return [] if whole else [v for v in array.tolist() if isinstance(v, bool) or not isinstance(v, int)]


def class_scores(values: Any, name: str) -> Floats:
    """Check that `values` is finite scores (n, c), or (n,) for class 1 of two; return (n, c).

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
    """Check that both are lists of IOB2 tags of equal lengths, and return them as lists.

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


def same_length(columns: Mapping[str, Sequence[Any]], where: str = "the batch") -> None:
    """Raise `DataError` unless all columns have as many entries."""
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"Expected as many entries in each column of {where}, got {lengths}.")
