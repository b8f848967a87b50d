"""Choose the probability threshold of the positive class for a metric."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.scores.statistics.counts import divide

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Threshold:
    """Rows with this probability or more are positive; `score` is the metric on the rows it was chosen by."""

    value: float
    score: float


def best_threshold(probabilities: ArrayLike, labels: ArrayLike, metric: str) -> Threshold:
    """Choose the threshold with the best metric on the given rows.

    Every cut between two neighbouring probabilities is tried, half way between them. Of those with
    the best score, the one nearest to 0.5 is taken. The score is too good to expect on other rows,
    for having been chosen.

    Args:
        probabilities: Of the positive class, (n,).
        labels: 1 for positive, 0 for negative, (n,).
        metric: `f1` of the positive class, or `balanced_accuracy`.

    Raises:
        ConfigError: If the metric is another.
        DataError: If the two are not of one length, a probability is out of range, or a class is absent.

    References:
        Lipton, Elkan and Naryanaswamy, "Optimal thresholding of classifiers to maximize F1 measure",
        ECML 2014, https://arxiv.org/abs/1402.1892.

    Example:
        >>> best_threshold([0.1, 0.3, 0.4, 0.9], [0, 0, 1, 1], "f1")
        Threshold(value=0.35, score=1.0)
    """
    if metric not in THRESHOLD_METRICS:
        raise ConfigError(f"A threshold is chosen for {' or '.join(THRESHOLD_METRICS)}, got {metric!r}.")
    shares, positive = _checked(probabilities, labels)
    order = np.argsort(shares, kind="stable")
    levels, first = np.unique(shares[order], return_index=True)
    # Rows from each level up are positive; a cut above all of them would be of no use.
    hits = positive.sum() - np.concatenate([[0], np.cumsum(positive[order])])[first]
    predicted = len(shares) - first
    scores = _SCORES[metric](hits.astype(float), predicted.astype(float), positive)
    middles = (levels[:-1] + levels[1:]) / 2
    # Half way between two neighbours among floating-point numbers may be the lower one itself.
    cuts = np.concatenate([[min(levels[0], 0.5)], np.where(middles > levels[:-1], middles, levels[1:])])
    best = np.flatnonzero(scores == scores.max())
    chosen = best[np.abs(cuts[best] - 0.5).argmin()]
    return Threshold(float(cuts[chosen]), float(scores[chosen]))


def _f1(hits: Floats, predicted: Floats, positive: NDArray[np.bool_]) -> Floats:
    return divide(2 * hits, predicted + positive.sum())


def _balanced_accuracy(hits: Floats, predicted: Floats, positive: NDArray[np.bool_]) -> Floats:
    wrong, negatives = predicted - hits, (~positive).sum()
    return (hits / positive.sum() + (negatives - wrong) / negatives) / 2  # type: ignore[no-any-return]


_SCORES = {"f1": _f1, "balanced_accuracy": _balanced_accuracy}
THRESHOLD_METRICS = tuple(_SCORES)


def _checked(probabilities: ArrayLike, labels: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    shares: Any = np.asarray(probabilities, dtype=np.float64)
    classes: Any = np.asarray(labels)
    if shares.ndim != 1 or shares.shape != classes.shape:
        raise DataError(
            f"Expected a probability and a label a row, got shapes {shares.shape} and {classes.shape}."
        )
    if not ((shares >= 0) & (shares <= 1)).all():
        wrong = shares[~((shares >= 0) & (shares <= 1))]
        raise DataError(f"Probabilities must be from 0 to 1, got {wrong[:5].tolist()}.")
    found = set(np.unique(classes).tolist())
    if found != {0, 1}:
        raise DataError(
            f"A threshold needs rows labelled 0 and rows labelled 1, got labels {sorted(found)[:10]}."
        )
    return shares, classes == 1
