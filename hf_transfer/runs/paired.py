"""Compare two configurations on the same folds: the paired difference, and whether it is significant.

No torch; what is said about it in words is in `pair_words`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import special

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.wording import fold_key
from hf_transfer.scores.statistics import (
    CorrectedT,
    corrected_error,
    corrected_resampled_t,
    effective_folds,
    holm,
)

if TYPE_CHECKING:
    from hf_transfer.runs.fold_result import FoldResult

LEVEL = 0.05  # of an adjusted p, below which a difference is called one
LIKELY = 0.2  # the same, below which it is called likely where the models differ on these very rows
POWER = 0.8  # of the test that the number of rows is worked out for

Interval = tuple[float, float]
Verdict = Literal[
    "second is better", "second is likely better", "same", "can't tell", "first is likely better",
    "first is better",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RightRows:
    """Rows of the first repeat that only one of two models of classes got right, and McNemar's exact p."""

    only_first: int
    only_second: int
    p: float
    repeat: int
    num_rows: int


@dataclass(frozen=True)
class PairedBootstrap:
    """The difference of two pooled scores of tagged words, its paired interval, and what was drawn."""

    difference: float | None
    interval: Interval | None
    unit: str


@dataclass(frozen=True)
class Pair:
    """Paired difference of two configurations, second minus first, on the folds that both finished.

    Attributes:
        first: Name of one.
        second: Name of the other.
        metric: What both were scored by.
        higher_is_better: Whether more of it is better.
        num_folds: Folds of one repeat, k, by the sizes of the folds.
        differences: Second minus first, by the fold's name.
        left_out: Folds that one of the two did not finish, or has no score for.
        mean: Of the differences; None without any.
        interval: Corrected 95 % interval of the mean; None with fewer than two folds, or where all
            differ by the same.
        p: Corrected two-sided p; None where there is no interval.
        p_adjusted: The same by Holm's rule over all pairs that were compared.
        times_the_rows: How many times as many rows might settle a difference of this size; rough.
        rows: For classes, McNemar's exact test over the out-of-fold rows of the first repeat.
        bootstrap: For tagged words, the paired interval of the difference in the pooled score.
    """

    first: str
    second: str
    metric: str
    higher_is_better: bool
    num_folds: float
    differences: dict[str, float]
    left_out: tuple[str, ...]
    mean: float | None
    interval: Interval | None
    p: float | None
    p_adjusted: float | None = None
    times_the_rows: float | None = None
    rows: RightRows | None = None
    bootstrap: PairedBootstrap | None = None

    @property
    def verdict(self) -> Verdict:
        """Which one is better, by the adjusted p-value; likely better, if so on these rows alone."""
        if self.differences and not any(self.differences.values()):
            return "same"
        if self.mean is None or self.p_adjusted is None:
            return "can't tell"
        ahead = (self.mean > 0) == self.higher_is_better
        if self.p_adjusted < LEVEL:
            return "second is better" if ahead else "first is better"
        if self.p_adjusted < LIKELY and self.differs_on_rows:
            return "second is likely better" if ahead else "first is likely better"
        return "can't tell"

    @property
    def differs_on_rows(self) -> bool:
        """Whether the models differ significantly on these rows, in the direction of the fold means."""
        if self.mean is None:
            return False
        if self.rows:
            to_second = self.rows.only_second > self.rows.only_first
            return bool(self.rows.p < LEVEL) and to_second == ((self.mean > 0) == self.higher_is_better)
        ends = self.bootstrap.interval if self.bootstrap else None
        return ends is not None and (ends[0] > 0 if self.mean > 0 else ends[1] < 0)


def pair_folds(
    first: "tuple[str, Sequence[FoldResult]]",
    second: "tuple[str, Sequence[FoldResult]]",
    metric: str,
    *,
    higher_is_better: bool,
) -> Pair:
    """Test the difference of a score between two configurations of the same folds.

    Args:
        first: Name and fold records of one.
        second: Name and fold records of the other.
        metric: The score's name.
        higher_is_better: Whether more of it is better.
    """
    num_folds, scores = folds_of(first[1]), paired_scores(first[1], second[1], metric)
    differences = {name: theirs - ours for name, (ours, theirs) in scores.items()}
    everywhere = dict.fromkeys(fold_key(fold.repeat, fold.fold) for fold in (*first[1], *second[1]))
    untested = Pair(
        first=first[0],
        second=second[0],
        metric=metric,
        higher_is_better=higher_is_better,
        num_folds=num_folds,
        differences=differences,
        left_out=tuple(name for name in everywhere if name not in differences),
        mean=None,
        interval=None,
        p=None,
    )
    return retested(untested)


def retested(pair: Pair) -> Pair:
    """Compute mean, interval and p-value of a pair from its differences; not yet adjusted."""
    values = list(pair.differences.values())
    test = corrected(values, pair.num_folds)
    return replace(
        pair,
        mean=float(np.mean(values)) if values else None,
        interval=test.interval if test else None,
        p=test.p if test else None,
    )


def adjusted(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """Adjust each p-value for the number of pairs; for undecided ones, estimate the rows needed."""
    if not pairs:
        return ()
    values = holm([math.nan if pair.p is None else pair.p for pair in pairs])
    return tuple(
        replace(
            pair,
            p_adjusted=None if math.isnan(p) else float(p),
            times_the_rows=_times_the_rows(pair, len(pairs)),
        )
        for pair, p in zip(pairs, values, strict=True)
    )


def paired_scores(
    first: "Sequence[FoldResult]", second: "Sequence[FoldResult]", metric: str
) -> dict[str, tuple[float, float]]:
    """Both scores of each fold that both configurations finished, by the fold's name."""
    of_first, of_second = (_finished(folds, metric) for folds in (first, second))
    return {name: (score, of_second[name]) for name, score in of_first.items() if name in of_second}


def corrected(values: Sequence[float], num_folds: float) -> CorrectedT | None:
    """Corrected t-test of fold values against 0; None for fewer than two values, or equal ones.

    Args:
        values: Paired differences, or scores less what they are held against, one a fold and repeat.
        num_folds: Folds of one repeat, k; see `folds_of`.
    """
    if len(values) < 2 or num_folds < 2 or corrected_error(values, num_folds) == 0:
        return None
    return corrected_resampled_t(values, num_folds)


def folds_of(folds: "Sequence[FoldResult]") -> float:
    """Effective k for the correction for shared training rows, from the sizes of finished folds."""
    sizes = [(fold.num_train, fold.num_valid) for fold in folds if fold.status == "done"]
    return effective_folds(sizes) if sizes else math.nan


def _times_the_rows(pair: Pair, num_pairs: int) -> float | None:
    """How many times the rows would detect a difference of this size with `POWER`.

    The standard error is taken to shrink as one over the root of the number of rows. Both the
    difference and its error are themselves uncertain, so this is a rough number.
    """
    if not pair.mean or pair.p is None:
        return None
    error, freedom = (
        corrected_error(list(pair.differences.values()), pair.num_folds),
        len(pair.differences) - 1,
    )
    reach = special.stdtrit(freedom, 1 - LEVEL / (2 * num_pairs)) + special.stdtrit(freedom, POWER)
    return float((reach * error / pair.mean) ** 2)


def _finished(folds: "Sequence[FoldResult]", metric: str) -> dict[str, float]:
    return {
        fold_key(fold.repeat, fold.fold): score
        for fold in folds
        if fold.status == "done" and (score := fold.scores.get(metric)) is not None
    }
