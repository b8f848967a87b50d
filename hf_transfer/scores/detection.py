"""How well each class or label is found: area under the ROC curve, a stated operating point, Brier score."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.scores.findings import Detection, Detections
from hf_transfer.scores.over_folds import by_fold, sampling_units
from hf_transfer.scores.scorer import Scorer, array_of
from hf_transfer.scores.statistics import bootstrap_interval, divide, mean_defined
from hf_transfer.scores.statistics.roc import RocCurve

Floats = NDArray[np.float64]
Marks = NDArray[np.bool_]


def detect(table: pa.Table, scorer: Scorer, at_specificity: float | None, *, seed: int) -> Detections | None:
    """Measure how well each class or label is found, with intervals by group where rows are grouped.

    The threshold of a fold is that of the other folds of its repeat, the lowest at which as many of their
    negative rows lie below it as the specificity says: no row takes part in its own threshold. What is
    reached on held-out rows is told beside what was asked. Intervals take models and thresholds as they are.

    Args:
        table: Out-of-fold predictions.
        scorer: Says which rows have a label, and how probable it was.
        at_specificity: Share of negative rows that are to stay below the threshold.
        seed: Of the bootstrap.

    Returns:
        None where none is asked for, or answers are no labels with probabilities.
    """
    if at_specificity is None or not table.num_rows:
        return None
    table = by_fold(table)
    found = scorer.detected(table)
    if found is None:
        return None
    repeats, folds = array_of(table, "repeat"), array_of(table, "fold")
    unit, units = sampling_units(table, scorer)
    labels = []
    for label, positive, shares in found:
        statistic = _statistic(positive, shares, repeats, folds, at_specificity)
        values = {name: _plain(value) for name, value in statistic(np.ones((1, table.num_rows))).items()}
        intervals = bootstrap_interval(statistic, folds, units=units, seed=seed)
        labels.append(
            Detection(
                label=label,
                positives=int(positive[repeats == repeats[0]].sum()),
                threshold=threshold_at(positive, shares, at_specificity),
                **values,  # type: ignore[arg-type]
                **{f"{name}_interval": intervals[name] for name in values},  # type: ignore[arg-type]
            )
        )
    return Detections(at_specificity, unit, labels)


def threshold_at(positive: Marks, shares: Floats, specificity: float) -> float | None:
    """The lowest probability that so many of the negative rows lie below; None without such rows.

    It is half way between the last of them and the next higher probability of any row.

    Example:
        >>> positive = np.array([False, False, False, False, True])
        >>> threshold_at(positive, np.array([0.1, 0.2, 0.3, 0.6, 0.5]), 0.75)
        0.4
    """
    negative = np.sort(shares[~positive])
    if not len(negative):
        return None
    last = negative[max(0, int(np.ceil(specificity * len(negative) - 1e-9)) - 1)]
    above = shares[shares > last]
    if not len(above):
        return float(np.nextafter(last, np.inf))
    middle = (last + above.min()) / 2
    return float(middle if middle > last else above.min())


def _statistic(
    positive: Marks, shares: Floats, repeats: NDArray[Any], folds: NDArray[Any], specificity: float
) -> Callable[[Floats], dict[str, Floats]]:
    """The function from weights (b, n) of all rows to the scores (b,); repeats are averaged."""
    parts = []
    for repeat in np.unique(repeats):
        inside = repeats == repeat
        places = [np.flatnonzero(inside & (folds == fold)) for fold in np.unique(folds[inside])]
        curves = [
            RocCurve.of(positive[rows], shares[rows], rows)
            for rows in places
            if 0 < positive[rows].mean() < 1
        ]
        called, known = np.zeros(len(shares), bool), np.zeros(len(shares), bool)
        for rows in places:
            others = inside.copy()
            others[rows] = False
            cut = threshold_at(positive[others], shares[others], specificity)
            known[rows] = cut is not None
            called[rows] = shares[rows] >= (np.inf if cut is None else cut)
        parts.append((inside, curves, called, known))
    errors = (shares - positive) ** 2

    def statistic(weights: Floats) -> dict[str, Floats]:
        undefined = np.full(len(weights), np.nan)
        scores = [
            {
                "auc": mean_defined([undefined, *(curve.area(weights) for curve in curves)]),
                "sensitivity": divide(weights @ (called & positive), weights @ (known & positive)),
                "specificity": divide(weights @ (known & ~called & ~positive), weights @ (known & ~positive)),
                "brier": divide(weights @ (errors * inside), weights @ inside),
            }
            for inside, curves, called, known in parts
        ]
        return {name: mean_defined(one[name] for one in scores) for name in scores[0]}

    return statistic


def _plain(values: Floats) -> float | None:
    return None if np.isnan(values[0]) else float(values[0])
