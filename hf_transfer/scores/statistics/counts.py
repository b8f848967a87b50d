"""Scores that are functions of counts, for many resamples at once."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def scores_from_counts(hits: Floats, support: Floats, predicted: Floats) -> dict[str, Floats]:
    """Compute the scores that are functions of counts, each (b, c): right, true and predicted."""
    total = support.sum(axis=1)
    correct = hits.sum(axis=1)
    present = (support + predicted > 0).sum(axis=1)
    recall = np.nan_to_num(divide(hits, support))
    f1 = np.nan_to_num(divide(2 * hits, support + predicted))
    chance = (support * predicted).sum(axis=1)
    spread = (total**2 - (predicted**2).sum(axis=1)) * (total**2 - (support**2).sum(axis=1))
    return {
        "accuracy": divide(correct, total),
        "balanced_accuracy": divide(recall.sum(axis=1), (support > 0).sum(axis=1)),
        "precision_macro": divide(np.nan_to_num(divide(hits, predicted)).sum(axis=1), present),
        "recall_macro": divide(recall.sum(axis=1), present),
        "f1_macro": divide(f1.sum(axis=1), present),
        "f1_micro": divide(correct, total),
        "f1_weighted": divide((f1 * support).sum(axis=1), total),
        "mcc": divide(correct * total - chance, np.sqrt(np.maximum(spread, 0))),
    }


def divide(numerator: Floats, denominator: Floats | Ints) -> Floats:
    """Divide elementwise; NaN where the denominator is 0."""
    undefined = np.full(np.shape(denominator), np.nan)
    return np.divide(numerator, denominator, out=undefined, where=denominator > 0)


def mean_defined(arrays: Iterable[Floats]) -> Floats:
    """Average over arrays (b,) elementwise, leaving out NaN; NaN where all are."""
    total: Any = 0.0
    count: Any = 0
    for array in arrays:
        defined = ~np.isnan(array)
        total = total + np.where(defined, array, 0.0)
        count = count + defined
    return divide(total, count)
