"""Aggregate scores over folds: means, pooled scores, and two intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.scores.cutting import Cut
from hf_transfer.scores.scorer import Scorer, Scores, array_of, column_of
from hf_transfer.scores.statistics.bootstrap import bootstrap_interval
from hf_transfer.scores.statistics.comparison import corrected_error, corrected_resampled_t

Interval = tuple[float, float]

REPEATS_FOR_HEADLINE = 3  # from here on, the spread over folds is known well enough to go by it alone


@dataclass(frozen=True, kw_only=True)
class FoldMean:
    """Mean and standard deviation of a score, and how many folds have it."""

    mean: float | None
    std: float | None
    num_folds: int


@dataclass(frozen=True, kw_only=True)
class Score(FoldMean):
    """A score over folds, with its pooled value and two intervals: see `summarise`."""

    pooled: float | None
    interval: Interval | None
    interval_kind: str | None
    unit: str
    conservative_interval: Interval | None
    headline: Literal["conservative", "both"]


@dataclass(frozen=True)
class CutScore:
    """A score over folds: of predictions as they come, and with cut points of the other folds."""

    plain: FoldMean
    cut: FoldMean


@dataclass(frozen=True, kw_only=True)
class Cuts:
    """Cut points for the published model, and what they are worth.

    Attributes:
        points: Of all out-of-fold rows; plain ones where those of other folds were no better.
        moved: How many are not plain.
        scores: By name; each fold was cut by what the other folds said.
    """

    points: list[Cut]
    moved: int
    scores: Mapping[str, CutScore]


def score_folds(table: pa.Table, scorer: Scorer) -> dict[tuple[int, int], Scores]:
    """Score each fold by itself; the keys are (repeat, fold), in order."""
    places = list(zip(array_of(table, "repeat").tolist(), array_of(table, "fold").tolist(), strict=True))
    rows: dict[tuple[int, int], list[int]] = {place: [] for place in sorted(set(places))}
    for row, place in enumerate(places):
        rows[place].append(row)
    return {place: scorer.score(table.take(chosen)) for place, chosen in rows.items()}


def summarise(
    fold_scores: Sequence[Scores],
    table: pa.Table,
    scorer: Scorer,
    *,
    seed: int,
    num_folds: float | None = None,
) -> dict[str, Score]:
    """Mean and standard deviation over folds, pooled value, and two intervals of each score.

    `interval` is the optimistic one: a bootstrap over rows, of the pooled score, with the models as
    they are. `conservative_interval` is of the mean over folds and repeats, and allows for other
    training sets too: a corrected resampled t, cut to what the score can be, and stretched over the
    optimistic one where that is wider. `headline` says what to
    go by: "conservative" from three repeats on, else "both".

    Folds whose score is undefined are left out; `num_folds` says how many counted. Scores that the
    scorer does not know, such as those of a metric of the Hub, get no pooled score and no bootstrap.

    Args:
        fold_scores: Scores of each fold that finished.
        table: Out-of-fold predictions of the same folds.
        scorer: What made the scores.
        seed: Seed of the bootstrap.
        num_folds: Folds of a repeat, see `effective_folds`; counted in the table if not given.
    """
    # In this order a unit's first row lies in the first repeat, whose folds the bootstrap keeps.
    table = by_fold(table)
    unit, units = sampling_units(table, scorer)
    intervals = bootstrap_interval(scorer.resampler(table), array_of(table, "fold"), units=units, seed=seed)
    pooled = scorer.pooled(table)
    num_folds = num_folds or max(2, int(array_of(table, "fold").max()) + 1)
    often = len(pc.unique(column_of(table, "repeat"))) >= REPEATS_FOR_HEADLINE
    summary = {}
    for name in dict.fromkeys(
        [*scorer.higher_is_better, *(name for scores in fold_scores for name in scores)]
    ):
        interval, values = intervals.get(name), [scores.get(name) for scores in fold_scores]
        conservative = _wider(_conservative(values, num_folds, *scorer.range_of(name)), interval)
        summary[name] = Score(
            **vars(over_folds(values)),
            pooled=pooled.get(name),
            interval=interval,
            interval_kind=f"bootstrap over out-of-fold {unit}s, within folds",
            unit=unit,
            conservative_interval=conservative,
            headline="conservative" if often and conservative else "both",
        )
    return summary


def sampling_units(table: pa.Table, scorer: Scorer) -> tuple[str, NDArray[Any]]:
    """Name the units that a bootstrap draws, group or row, and return the unit of each entry."""
    unit, column = ("group", "unit") if "unit" in table.column_names else (scorer.unit, "row_id")
    return unit, array_of(table, column)


def _conservative(
    scores: Sequence[float | None], num_folds: float, lowest: float, highest: float
) -> Interval | None:
    """Corrected t interval of the mean over folds; None for fewer than two values, or equal ones."""
    values = [score for score in scores if score is not None]
    if len(values) < 2 or corrected_error(values, num_folds) == 0:
        return None  # an interval of no width would be a lie
    low, high = corrected_resampled_t(values, num_folds).interval
    return max(low, lowest), min(high, highest)


def _wider(conservative: Interval | None, optimistic: Interval | None) -> Interval | None:
    """Stretch the conservative interval over the optimistic one where chance made it the narrower one.

    Few folds that happen to agree make a small error. What the rows alone leave open is open all the same.
    """
    if not conservative or not optimistic or np.ptp(conservative) >= np.ptp(optimistic):
        return conservative
    return min(conservative[0], optimistic[0]), max(conservative[1], optimistic[1])


def over_folds(scores: Sequence[float | None]) -> FoldMean:
    """Mean and standard deviation of a score, and how many folds have it."""
    values = [float(score) for score in scores if score is not None]
    return FoldMean(
        mean=float(np.mean(values)) if values else None,
        std=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        num_folds=len(values),
    )


def by_fold(table: pa.Table) -> pa.Table:
    """Sort the rows by repeat and fold, without a copy if they are sorted."""
    repeats, folds = array_of(table, "repeat"), array_of(table, "fold")
    if (np.lexsort((folds, repeats)) == np.arange(len(folds))).all():
        return table
    return table.sort_by([("repeat", "ascending"), ("fold", "ascending")])
