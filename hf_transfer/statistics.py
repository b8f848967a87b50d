"""Intervals and tests for cross-validated scores, and scores of weighted rows. numpy and scipy only."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import ConfigError, DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Interval = tuple[float, float]

CHUNK = 2_000_000  # weights made at a time: 16 MB, and as much again for each array made from them
SAME = 1e-12  # differences of scores closer than this differ by rounding only


def bootstrap_interval(
    statistic: Callable[[Floats], Mapping[str, Floats]],
    folds: ArrayLike,
    *,
    units: ArrayLike | None = None,
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int,
) -> dict[str, Interval | None]:
    """Estimate a percentile interval for each score by resampling units within their fold.

    It measures what another draw of rows would change, with the models as they are. What another
    training set would change is not in it, so it is the optimistic one of the two intervals.

    Args:
        statistic: Takes weights (b, n), how often each row was drawn, and gives scores (b,) by name.
        folds: Fold of each row, (n,).
        units: What is drawn together, (n,): the group, or the row's id where rows occur once a
            repeat. A unit belongs to the fold of its first row. Each row by itself when not given.
        num_resamples: Number of resamples.
        level: Share of the resamples inside the interval.
        seed: Seed of the draws. The size of a chunk does not change them.

    Returns:
        Low and high for each score. None where more than half of the resamples leave the score
        undefined (NaN), and for every score when no fold has two units to exchange.

    Raises:
        ConfigError: If `num_resamples`, `level` or `seed` is out of range.
        DataError: If there are no rows, or `units` does not have one entry a row.
    """
    _check_settings(num_resamples, level, seed)
    columns, starts, sizes = _strata(folds, units)
    draws: dict[str, list[Floats]] = {}
    for weights in _resamples(columns, starts, sizes, num_resamples=num_resamples, seed=seed):
        for name, values in statistic(weights).items():
            draws.setdefault(name, []).append(np.asarray(values, dtype=np.float64))
    if sizes.max() < 2:  # every resample is the data itself: an interval of no width would be a lie
        return dict.fromkeys(draws)
    return {name: _percentiles(np.concatenate(chunks), level) for name, chunks in draws.items()}


def _check_settings(num_resamples: int, level: float, seed: int) -> None:
    if num_resamples < 1:
        raise ConfigError(f"num_resamples must be 1 or more, got {num_resamples}.")
    if not 0 < level < 1:
        raise ConfigError(f"level must lie between 0 and 1, such as 0.95, got {level}.")
    if seed < 0:
        raise ConfigError(f"seed must be 0 or more, got {seed}.")


def _strata(
    folds: ArrayLike, units: ArrayLike | None
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Order the units by fold; give each row's place, and each place's fold's start and size."""
    folds = np.asarray(folds)
    names = np.arange(len(folds)) if units is None else np.asarray(units)
    if not len(folds) or names.shape != folds.shape:
        raise DataError(
            f"Expected one unit for each of one or more rows, got {len(folds)} folds and {len(names)} units."
        )
    _, first_rows, unit_of_row = np.unique(names, return_index=True, return_inverse=True)
    order = np.argsort(folds[first_rows], kind="stable")
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    _, starts, counts = np.unique(folds[first_rows][order], return_index=True, return_counts=True)
    return places[unit_of_row], np.repeat(starts, counts), np.repeat(counts, counts)


def _resamples(
    columns: NDArray[np.intp],
    starts: NDArray[np.intp],
    sizes: NDArray[np.intp],
    *,
    num_resamples: int,
    seed: int,
) -> Iterator[Floats]:
    """Yield weights (b, n) until `num_resamples` rows were given."""
    rng = np.random.Generator(np.random.PCG64(seed))
    num_units = len(starts)
    chunk = max(1, CHUNK // len(columns))
    for done in range(0, num_resamples, chunk):
        b = min(chunk, num_resamples - done)
        # One row of `random` a resample, whatever its chunk: the draws do not depend on the chunk.
        drawn = starts + (rng.random((b, num_units)) * sizes).astype(np.intp)
        drawn += num_units * np.arange(b)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=b * num_units).reshape(b, num_units)
        yield counts.astype(np.float64)[:, columns]


def _percentiles(values: Floats, level: float) -> Interval | None:
    defined = values[np.isfinite(values)]
    if 2 * len(defined) < len(values):
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


class CorrectedT(NamedTuple):
    """Mean of paired fold differences, its interval, and the two-sided p-value."""

    mean: float
    interval: Interval
    p: float


def corrected_resampled_t(differences: ArrayLike, num_folds: int, *, level: float = 0.95) -> CorrectedT:
    """Test whether paired fold differences have mean 0, allowing for shared training rows.

    The plain t-test takes folds for independent, though any two share most of their training
    rows, and so finds differences where there are none. The correction adds n_test / n_train,
    here 1 / (k - 1), to the share 1 / J of the variance of J differences.

    Args:
        differences: Score of one configuration minus the other's, one a fold and repeat, (J,).
        num_folds: Folds of one repeat, k.
        level: Coverage of the interval.

    Returns:
        Mean, interval and p. When all differences are equal the interval is that point, and p is
        1 if they are 0 and NaN, with a warning, if they are not.

    Raises:
        ConfigError: If `num_folds` is below 2 or `level` is not between 0 and 1.
        DataError: If there are fewer than two differences, or one is not finite.

    References:
        Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52, 2003.
        Bouckaert and Frank, "Evaluating the replicability of significance tests for comparing
        learning algorithms", PAKDD 2004: the form for repeated k-fold.

    Example:
        >>> mean, interval, p = corrected_resampled_t([0.02, 0.01, 0.03, 0.0, 0.04], num_folds=5)
        >>> round(mean, 3), round(p, 6)
        (0.02, 0.132419)
    """
    values = _checked_differences(differences, num_folds, level)
    mean = float(values.mean())
    if np.ptp(values) <= SAME:
        return CorrectedT(mean, (mean, mean), _p_without_spread(mean))
    error = float(np.sqrt(values.var(ddof=1) * (1 / len(values) + 1 / (num_folds - 1))))
    freedom = len(values) - 1
    margin = float(special.stdtrit(freedom, (1 + level) / 2)) * error
    p = 2 * float(special.stdtr(freedom, -abs(mean / error)))
    return CorrectedT(mean, (mean - margin, mean + margin), p)


def _checked_differences(differences: ArrayLike, num_folds: int, level: float) -> Floats:
    if num_folds < 2:
        raise ConfigError(f"num_folds must be 2 or more, got {num_folds}.")
    if not 0 < level < 1:
        raise ConfigError(f"level must lie between 0 and 1, such as 0.95, got {level}.")
    values: NDArray[Any] = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise DataError(
            f"Expected a list of two or more fold differences, got shape {values.shape}. "
            "A test needs at least two folds that both configurations finished."
        )
    if not np.isfinite(values).all():
        raise DataError(
            f"Fold differences must be finite, got {values.tolist()}. "
            "Leave out the folds whose score is undefined."
        )
    return values


def _p_without_spread(mean: float) -> float:
    if abs(mean) <= SAME:
        return 1.0
    warnings.warn(
        f"All fold differences equal {mean:g}, so their spread is 0 and the p-value is undefined.",
        RuntimeWarning,
        stacklevel=3,
    )
    return float("nan")


@dataclass(frozen=True)
class RocCurve:
    """One class against the rest in one fold, as ranks: `order` sorts the fold's rows by score.

    Of each row of the class, `below` counts the rows with a lower score, `upto` those with a score
    that is not higher. Half-way between is its rank, ties shared.
    """

    order: NDArray[np.int32]  # a thousand classes make a thousand of these
    positives: NDArray[np.intp]
    below: NDArray[np.intp]
    upto: NDArray[np.intp]

    def area(self, weights: Floats) -> Floats:
        """Give the area under the curve, (b,), of rows weighted by (b, n)."""
        drawn = np.zeros((len(weights), len(self.order) + 1))
        np.cumsum(weights[:, self.order], axis=1, out=drawn[:, 1:])
        positive = weights[:, self.positives]
        num_positive = positive.sum(axis=1)
        ranks = (drawn[:, self.below] + drawn[:, self.upto]) / 2
        # The ranks count pairs of two positives too; these make up half of all such pairs.
        pairs = (positive * ranks).sum(axis=1) - num_positive**2 / 2
        return divide(pairs, num_positive * (drawn[:, -1] - num_positive))


def roc_curves(rows: NDArray[np.intp], labels: Ints, probabilities: Floats) -> list[RocCurve]:
    """Make the curves of one fold: one for two classes, otherwise one for each class that is there."""
    classes = np.unique(labels[rows])
    if len(classes) < 2:
        return []
    curves = []
    for column in classes if probabilities.shape[1] > 2 else [1]:
        scores = probabilities[rows, column]
        order = np.argsort(scores, kind="stable")
        positive = labels[rows] == column
        below, upto = (np.searchsorted(scores[order], scores[positive], side) for side in ("left", "right"))
        curves.append(RocCurve(rows[order].astype(np.int32), rows[positive], below, upto))
    return curves


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
