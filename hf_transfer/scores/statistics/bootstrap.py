"""Bootstrap intervals (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13)."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError, DataError

Floats = NDArray[np.float64]
Interval = tuple[float, float]
Statistic = Callable[[Floats], Mapping[str, Floats]]

_SMALL_BIAS = 0.25  # of the standard error: less may be ignored (Efron and Tibshirani, section 10.3)
CHUNK = 2_000_000  # weights made at a time: 16 MB, and as much again for each array made from them


def bootstrap_interval(
    statistic: Statistic,
    folds: ArrayLike,
    *,
    units: ArrayLike | None = None,
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int,
) -> dict[str, Interval | None]:
    """Estimate a percentile interval for each score by resampling units within their fold.

    It measures what another draw of rows would change, with the models as they are, and not what another
    training set would: it is the optimistic one of the two intervals. Rows that are drawn twice lift areas
    under curves and lower R² in small folds; such a shift of all resamples is taken out again.

    Args:
        statistic: Takes weights (b, n), how often each row was drawn, and gives scores (b,) by name.
        folds: Fold of each row, (n,).
        units: What is drawn together, (n,): the group, or the row's id where rows occur once a repeat.
        num_resamples: Number of resamples.
        level: Share of the resamples inside the interval.
        seed: Of the draws; the size of a chunk does not change them.

    Returns:
        Low and high by name; None where half of the resamples are NaN, or no fold has units to exchange.

    Raises:
        TransferError: If a number is out of range, or `units` does not have one entry for each of some rows.

    Example:
        The difference of two scores on the rows of the same draw:

        >>> import numpy as np
        >>> first, second = np.arange(100) >= 20, np.arange(100) >= 30
        >>> def scores(weights):
        ...     first_share, second_share = (weights @ right / 100 for right in (first, second))
        ...     return {"first": first_share, "difference": first_share - second_share}
        >>> found = bootstrap_interval(scores, np.arange(100) % 5, seed=0)
        >>> found["difference"][0] > 0, found["first"][0] < 0.8 < found["first"][1]
        (True, True)
    """
    if not 0 < level < 1:
        raise ConfigError(f"level must lie between 0 and 1, such as 0.95, got {level}.")
    strata = Strata.of(folds, units)
    draws = _drawn(statistic, strata.resamples(num_resamples, seed))
    if strata.fixed:  # every resample is the data itself: an interval of no width would be a lie
        return dict.fromkeys(draws)
    estimates = _drawn(statistic, [np.ones((1, len(strata.columns)))])
    return {name: _percentiles(drawn, estimates[name].item(), level) for name, drawn in draws.items()}


def _drawn(statistic: Statistic, blocks: Iterable[Floats]) -> dict[str, Floats]:
    """Scores of all resamples of some blocks of weights, by name."""
    draws: dict[str, list[Floats]] = {}
    for weights in blocks:
        for name, values in statistic(weights).items():
            draws.setdefault(name, []).append(np.asarray(values, dtype=np.float64))
    return {name: np.concatenate(chunks) for name, chunks in draws.items()}


@dataclass(frozen=True)
class Strata:
    """Units to resample, within their folds.

    Attributes:
        columns: Place of each row's unit, (n,).
        starts: Place of the first unit of each place's fold, (number of units,).
        sizes: Number of units of each place's fold, (number of units,).
    """

    columns: NDArray[np.intp]
    starts: NDArray[np.intp]
    sizes: NDArray[np.intp]

    @classmethod
    def of(cls, folds: ArrayLike, units: ArrayLike | None) -> Self:
        """Order the units by fold; a unit belongs to the fold of its first row.

        Raises:
            DataError: If there are no rows, or `units` does not have one entry a row.
        """
        folds = np.asarray(folds)
        names = np.arange(len(folds)) if units is None else np.asarray(units)
        if not len(folds) or names.shape != folds.shape:
            raise DataError(
                "Expected one unit for each of one or more rows, "
                f"got {len(folds)} folds and {len(names)} units."
            )
        _, first_rows, unit_of_row = np.unique(names, return_index=True, return_inverse=True)
        order = np.argsort(folds[first_rows], kind="stable")
        rank_of = np.empty_like(order)
        rank_of[order] = np.arange(len(order))
        _, starts, counts = np.unique(folds[first_rows][order], return_index=True, return_counts=True)
        return cls(rank_of[unit_of_row], np.repeat(starts, counts), np.repeat(counts, counts))

    @property
    def fixed(self) -> bool:
        """Whether no fold has two units, so that resampling changes nothing."""
        return int(self.sizes.max()) < 2

    def resamples(self, num_resamples: int, seed: int) -> Iterator[Floats]:
        """Draw as many units from each fold as it has; yield weights (b, n) in blocks.

        Raises:
            ConfigError: If `num_resamples` or `seed` is out of range.
        """
        if num_resamples < 1:
            raise ConfigError(f"num_resamples must be 1 or more, got {num_resamples}.")
        if seed < 0:
            raise ConfigError(f"seed must be 0 or more, got {seed}.")
        rng = np.random.Generator(np.random.PCG64(seed))
        num_units = len(self.starts)
        chunk = max(1, CHUNK // len(self.columns))
        for done in range(0, num_resamples, chunk):
            b = min(chunk, num_resamples - done)
            # One row of `random` a resample, whatever its chunk: the draws do not depend on the chunk.
            drawn = self.starts + (rng.random((b, num_units)) * self.sizes).astype(np.intp)
            drawn += num_units * np.arange(b)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=b * num_units).reshape(b, num_units)
            yield counts.astype(np.float64)[:, self.columns]


def _percentiles(values: Floats, estimate: float, level: float) -> Interval | None:
    defined = values[np.isfinite(values)]
    if 2 * len(defined) < len(values):
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    bias = defined.mean() - estimate
    if abs(bias) > _SMALL_BIAS * defined.std():
        # No further than a resample or the estimate went, so that a score stays in its range.
        low = max(low - bias, min(defined.min(), estimate))
        high = min(high - bias, max(defined.max(), estimate))
    return float(low), float(high)
