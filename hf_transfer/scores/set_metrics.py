"""Metrics of label sets, one row of 0 and 1 an item, as plain functions that need no network.

Undefined is None. An average over labels leaves out those that no row has, in areas too, and the ROC
curve's those that every row has.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.scores.metrics import Scores
from hf_transfer.scores.statistics.counts import Floats, divide, mean_defined
from hf_transfer.scores.statistics.roc import RocCurve

Marks = NDArray[np.bool_]


def set_f1(references: Marks, predictions: Marks, *, average: str = "micro") -> Scores:
    """Compute F1 over all labels together ("micro"), or for each and averaged ("macro").

    Example:
        >>> marks = np.array([[1, 0], [1, 1]], bool), np.array([[1, 1], [0, 1]], bool)
        >>> set_f1(*marks), set_f1(*marks, average="macro")
        ({'f1_micro': 0.6666666666666666}, {'f1_macro': 0.6666666666666666})
    """
    if average not in ("micro", "macro"):
        raise ConfigError(f"average must be 'micro' or 'macro', got {average!r}.")
    name = f"f1_{average}"
    return {name: _defined(set_scores(references, predictions, _once(references))[name])}


def hamming_loss(references: Marks, predictions: Marks) -> Scores:
    """Compute the share of all rows and labels that are wrong: missed, or given where they are not."""
    return {"hamming_loss": float((references != predictions).mean())}


def exact_match(references: Marks, predictions: Marks) -> Scores:
    """Compute the share of rows whose labels are all right, and no other was given."""
    return {"exact_match": float((references == predictions).all(axis=1).mean())}


def average_precision(references: Marks, prediction_scores: Floats) -> Scores:
    """Compute the mean over labels of the average precision (mAP)."""
    curves = precision_curves(references, prediction_scores)
    return {"average_precision": _mean(curve.area(_once(references)) for curve in curves)}


def set_roc_auc(references: Marks, prediction_scores: Floats) -> Scores:
    """Compute the mean over labels of the area under the ROC curve."""
    curves = label_curves(references, prediction_scores)
    return {"roc_auc": _mean(curve.area(_once(references)) for curve in curves)}


def set_scores(references: Marks, predictions: Marks, weights: Floats) -> dict[str, Floats]:
    """Compute the scores of given labels, (b,) each.

    Args:
        references: (n, c).
        predictions: (n, c).
        weights: How often each row counts, (b, n).
    """
    hits, support, predicted = (
        weights @ marks.astype(np.float64) for marks in (references & predictions, references, predictions)
    )
    wrong, total = references != predictions, weights.sum(axis=1)
    f1, nothing = divide(2 * hits, support + predicted), np.full(len(weights), np.nan)
    return {
        "f1_micro": divide(2 * hits.sum(axis=1), (support + predicted).sum(axis=1)),
        "f1_macro": mean_defined(np.where(support > 0, f1, np.nan).T) if f1.size else nothing,
        "hamming_loss": divide(weights @ wrong.mean(axis=1), total),
        "exact_match": divide(weights @ ~wrong.any(axis=1), total),
    }


@dataclass(frozen=True)
class PrecisionCurve:
    """One label's precision against recall: `order` sorts the rows, the highest score first.

    `ends` are the last places of rows of equal score, and `positive` says which ordered rows have the label.
    """

    order: NDArray[np.int32]
    ends: NDArray[np.int32]
    positive: Marks

    def area(self, weights: Floats) -> Floats:
        """The average precision, (b,), of rows weighted by (b, n): no line is drawn between points."""
        drawn = weights[:, self.order]
        above = np.cumsum(drawn, axis=1)[:, self.ends]
        found = np.cumsum(drawn * self.positive, axis=1)[:, self.ends]
        gained = np.diff(found, axis=1, prepend=0.0)
        return divide((gained * np.nan_to_num(divide(found, above))).sum(axis=1), found[:, -1])


Curve = PrecisionCurve | RocCurve


def precision_curves(references: Marks, scores: Floats) -> list[PrecisionCurve]:
    """Make the curve of each label that some of the rows have."""
    curves = []
    for column in np.flatnonzero(references.any(axis=0)):
        order = np.argsort(-scores[:, column], kind="stable")
        ends = np.flatnonzero(np.append(np.diff(scores[order, column]) != 0, True))
        places = (order.astype(np.int32), ends.astype(np.int32))
        curves.append(PrecisionCurve(*places, references[order, column]))
    return curves


def label_curves(references: Marks, scores: Floats) -> list[RocCurve]:
    """Make the ROC curve of each label that some of the rows have, and not all."""
    some = references.any(axis=0) & ~references.all(axis=0)
    return [RocCurve.of(references[:, column], scores[:, column]) for column in np.flatnonzero(some)]


def marked(values: object, name: str) -> Marks:
    """Check that `values` is a table of 0 and 1, a row each and a column each label.

    Raises:
        DataError: If it is anything else.
    """
    try:
        array = np.asarray(values)
    except ValueError as ragged:
        raise DataError(f"{name} has rows of different length. Give every row an entry a label.") from ragged
    if array.ndim != 2 or not np.isin(array, (0, 1)).all():
        raise DataError(
            f"{name} must be 0 or 1 for each row and label, got {array.dtype} of shape {array.shape}. "
            "Of label names or ids make such a table first."
        )
    return array.astype(bool)


def _once(references: Marks) -> Floats:
    return np.ones((1, len(references)))


def _mean(areas: Iterable[Floats]) -> float | None:
    return _defined(mean_defined([np.full(1, np.nan), *areas]))


def _defined(values: Floats) -> float | None:
    return None if np.isnan(values[0]) else float(values[0])
