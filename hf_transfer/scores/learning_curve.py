"""Learning curves: predict the score at twice the rows by a power law.

The score is taken as a distance from the best there can be, a + b n^-c with b, c > 0, so that a model
never becomes worse with more rows. numpy and scipy only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import DataError

Floats = NDArray[np.float64]
Interval = tuple[float, float]

PERCENTS = (10, 20, 40, 80)
"""Sizes that are trained beside the run itself, in percent of each fold's training rows."""

FEWEST_FOLDS = 3  # of two folds there are three resamples, and no interval
FEWEST_SIZES = 4  # one more than the curve has parameters
NO_GAIN = 0.005  # half a point, or that share of a score without bound: less than that is called no gain
_DECAYS = np.geomspace(0.02, 4.0, 120)
_LACK_OF_FIT = 0.01  # p below which the curve is said not to fit
_RESAMPLES = 2000


@dataclass(frozen=True)
class Fit:
    """A fitted law `base + sign * (rest + factor * n ** -decay)` of a score.

    Attributes:
        rest: Distance from the best score that no number of rows takes away.
        factor: What the rows do take away, at one row.
        decay: How fast, above 0.
        best: The best score there can be, from which the distance is taken.
        sign: 1 if a higher score is better, -1 if a lower one is.
    """

    rest: float
    factor: float
    decay: float
    best: float
    sign: int

    def score(self, num_rows: Any) -> Any:
        """Predicted score with this many training rows."""
        rows = np.asarray(num_rows, np.float64)
        return self.best - self.sign * (self.rest + self.factor * rows**-self.decay)

    def gain(self, num_rows: float) -> float:
        """Predicted gain from twice as many rows."""
        return float(self.factor * num_rows**-self.decay * (1 - 2**-self.decay))


@dataclass(frozen=True)
class Law:
    """The fitted curve a + b n^-c, over n training rows."""

    a: float
    b: float
    c: float


@dataclass(frozen=True)
class Doubling:
    """How much better the score would be with twice the rows, and an interval of that."""

    gain: float
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class CurveReading:
    """What twice the rows would give, or the reason why it can't be told."""

    fit: Law | None
    doubling: Doubling | None
    reason: str | None


def fit_law(num_rows: Floats, scores: Floats, *, higher_is_better: bool = True) -> Fit:
    """Fit the law by least squares, with the asymptote bounded by the best possible score.

    Args:
        num_rows: Training rows of each size, (s,).
        scores: Mean score of each size, (s,).
        higher_is_better: If so and no score is above 1, the best is 1; of a loss it is 0.
    """
    best, sign, bounded = _scale(scores, higher_is_better)
    rest, factor, decay = _fit(num_rows, sign * (best - scores)[None], bounded=bounded)
    return Fit(float(rest[0]), float(factor[0]), float(decay[0]), best, sign)


def read_curve(
    num_rows: Sequence[float], scores: Any, *, num_folds: int, higher_is_better: bool = True, seed: int = 0
) -> CurveReading:
    """Predict the gain from twice the rows, from the scores of each size and fold.

    The interval is that of a bootstrap over folds, all sizes of a fold together. As folds share
    training rows, the resampled means are spread as far as the corrected variance of Nadeau and
    Bengio (2003) asks for. What no interval knows is whether the law still holds beyond the last size.

    Args:
        num_rows: Mean number of training rows of each size, (s,), the whole fold last.
        scores: Score of each size and fold, (s, J). A fold without a score of every size is left out.
        num_folds: Folds of one repeat, k.
        higher_is_better: Whether a higher score is better.
        seed: Seed of the bootstrap.

    Raises:
        DataError: If the shapes do not match, or sizes are not above 0.
    """
    rows, table = _checked(num_rows, scores)
    if reason := _unfit(rows, table, higher_is_better):
        return CurveReading(fit=None, doubling=None, reason=reason)
    law = fit_law(rows, table.mean(axis=1), higher_is_better=higher_is_better)
    gains = _resampled_gains(rows, table, law, num_folds, seed)
    low, high = np.quantile(gains, [0.025, 0.975])
    return CurveReading(
        fit=Law(law.best - law.sign * law.rest, -law.sign * law.factor, law.decay),
        doubling=Doubling(law.gain(rows[-1]), (float(low), float(high))),
        reason=None,
    )


def verdict(curve: CurveReading, metric: str, *, higher_is_better: bool = True, unit: float = 1.0) -> str:
    """Put `read_curve`'s result into a sentence.

    Args:
        curve: The result.
        metric: Name of the score.
        higher_is_better: Whether a higher score is better.
        unit: What a gain is measured by; 1 for scores of 0 to 1.
    """
    found = curve.doubling
    if found is None:
        return f"It can't be told what twice the data would give: {curve.reason}."
    (low, high), sign = found.interval, 1 if higher_is_better else -1
    within = " to ".join(f"{end:z.3f}" for end in sorted([sign * low, sign * high]))
    gain = sign * found.gain
    if high < NO_GAIN * unit:
        return f"No more gain is to be seen: twice the data would give {gain:+.3f} {metric} ({within})."
    if low < NO_GAIN * unit / 10:
        return f"It can't be told with this much data what twice as much would give ({within} {metric})."
    return f"Twice the data would give about {gain:+.3f} {metric} ({within})."


def _checked(num_rows: Sequence[float], scores: Any) -> tuple[Floats, Floats]:
    """Sizes, and the scores of the folds that have all of them, (s, k)."""
    rows, table = np.asarray(num_rows, np.float64), np.asarray(scores, np.float64)
    if rows.ndim != 1 or table.ndim != 2 or len(table) != len(rows) or not (rows > 0).all():
        raise DataError(
            f"Expected sizes above 0, (s,), and scores, (s, folds); got shapes {rows.shape} and "
            f"{table.shape}. Give a row of scores for each size."
        )
    return rows, table[:, np.isfinite(table).all(axis=0)]


def _unfit(rows: Floats, table: Floats, higher_is_better: bool) -> str | None:
    """Why no law can be fitted to these scores; None if one can."""
    if len(np.unique(rows)) < FEWEST_SIZES:
        return f"the training rows have {len(np.unique(rows))} sizes only, of {FEWEST_SIZES} needed"
    if table.shape[1] < FEWEST_FOLDS:
        return f"{table.shape[1]} folds have a score of every size, of {FEWEST_FOLDS} needed"
    law = fit_law(rows, table.mean(axis=1), higher_is_better=higher_is_better)
    if _lack_of_fit(rows, table, law) < _LACK_OF_FIT:
        return "the scores do not follow a curve of the form a + b n^-c"
    return None


def _lack_of_fit(rows: Floats, table: Floats, law: Fit) -> float:
    """P-value of an F-test for lack of fit: do the means lie further off the law than folds scatter?"""
    num_sizes, num_folds = table.shape
    means = table.mean(axis=1)
    # A fold may be harder at every size; what remains is the scatter of its curve.
    rest = table - table.mean(axis=0) - means[:, None] + means.mean()
    freedom = (num_sizes - 1) * (num_folds - 1)
    off, noise = ((means - law.score(rows)) ** 2).sum() * num_folds, (rest**2).sum() / freedom
    if noise <= 1e-18:
        return float(off < 1e-6)
    extra = num_sizes - 3
    return float(special.fdtrc(extra, freedom, off / extra / noise))


def _resampled_gains(rows: Floats, table: Floats, law: Fit, num_folds: int, seed: int) -> Floats:
    """Gains in bootstrap resamples of the folds, (b,)."""
    rng = np.random.Generator(np.random.PCG64(seed))
    there_are = table.shape[1]
    drawn = rng.integers(there_are, size=(_RESAMPLES, there_are))
    means, middle = table[:, drawn].mean(axis=2).T, table.mean(axis=1)
    # The bootstrap's variance of a mean of J folds is (J - 1) / J^2 of theirs; 1 / J + 1 / (k - 1) is due.
    due = (1 / there_are + 1 / (num_folds - 1)) * there_are**2 / (there_are - 1)
    means = middle + np.sqrt(due) * (means - middle)
    _, factor, decay = _fit(rows, law.sign * (law.best - means), bounded=_scale(middle, law.sign > 0)[2])
    return np.asarray(factor * rows[-1] ** -decay * (1 - 2**-decay))


def _scale(scores: Floats, higher_is_better: bool) -> tuple[float, int, bool]:
    """The best possible score, the direction, and whether 0 bounds the distance from it."""
    if not higher_is_better:
        return 0.0, -1, bool(scores.min() >= 0)
    return 1.0, 1, bool(scores.max() <= 1)


def _fit(rows: Floats, distances: Floats, *, bounded: bool) -> tuple[Floats, Floats, Floats]:
    """Fit rest + factor * rows ** -decay to m lists of distances (m, s); returns (m,) of each parameter.

    For one decay it is a line, so that each of many is tried, and the best of the lines kept.
    """
    least = np.full(len(distances), np.inf)
    kept = np.zeros((3, len(distances)))
    for decay in _DECAYS:
        x = (rows / rows[-1]) ** -decay  # near 1, whatever the sizes
        for rest, factor in _lines(x, distances, bounded=bounded):
            error = ((rest[:, None] + factor[:, None] * x - distances) ** 2).sum(axis=1)
            better = error < least
            least = np.where(better, error, least)
            found = np.stack([rest, factor * rows[-1] ** decay, np.full_like(rest, decay)])
            kept = np.where(better, found, kept)
    return kept[0], kept[1], kept[2]


def _lines(x: Floats, y: Floats, *, bounded: bool) -> list[tuple[Floats, Floats]]:
    """Least-squares lines through (x, y) with rest and factor of at least 0."""
    middle = x.mean()
    slope = (y - y.mean(axis=1, keepdims=True)) @ (x - middle) / ((x - middle) ** 2).sum()
    rest = y.mean(axis=1) - slope * middle
    flat = (y.mean(axis=1), np.zeros(len(y)))
    allowed = (slope >= 0) & ((rest >= 0) | (not bounded))
    lines = [flat, (np.where(allowed, rest, flat[0]), np.where(allowed, slope, 0.0))]
    if bounded:
        steep = np.maximum(y @ x / (x @ x), 0.0)
        lines.append((np.zeros(len(y)), steep))
    return lines
