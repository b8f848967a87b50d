"""What random folds would say beside folds that keep related rows apart, as results.json has it. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_transfer import _guard  # noqa: F401
from hf_transfer.runs.findings import Interval
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.paired import LEVEL, corrected, folds_of
from hf_transfer.runs.schema import FORMAT_VERSION
from hf_transfer.scores.over_folds import over_folds
from hf_transfer.scores.scorer import Scorer

RANDOM, APART = "random-folds", "apart"
"""Folders of the folds that stand beside those of the run: they keep nothing together, or what is related."""

FoldsScored = tuple[Sequence[FoldResult], pa.Table]

_LITTLE = 0.05  # of the score


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Scores of a linear model in the folds of one split, and on how many rows it was trained on average."""

    scores: list[float | None]
    mean: float | None
    num_train: float


@dataclass(frozen=True, kw_only=True)
class Price:
    """How much better a linear model looks where related rows are on both sides of a split.

    Attributes:
        metric: What is scored.
        random: Under folds that keep nothing together.
        apart: Under folds that keep related rows together, and so apart from the others.
        differences: By how much the former is better, whichever way the metric goes, on the rows that each
            fold of the latter holds out.
        difference: Their mean.
        interval: Of that, corrected for shared training rows.
        p: That there is no difference.
    """

    metric: str
    random: Arm
    apart: Arm
    differences: list[float | None]
    difference: float | None
    interval: Interval | None
    p: float | None

    @property
    def is_paid(self) -> bool:
        """Whether random folds are better by more than noise."""
        return self.interval is not None and self.interval[0] > 0

    @property
    def is_small(self) -> bool:
        """Whether they can only be better by little, if by anything."""
        if self.interval is None or self.random.mean is None:
            return False
        return self.interval[1] <= _LITTLE * abs(self.random.mean)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A candidate for what relates rows, and how much more alike such rows are than chance allows.

    Attributes:
        name: In words.
        column: Of the data, if it is one.
        is_order: Whether rows beside each other are compared, or rows of a group.
        p_features: That the features of rows in any order are as alike.
        p_errors: The same of the errors of a model that knew none of them.
        p: The larger one, adjusted for the number of candidates.
        strength: Standard deviations by which the features are more alike.
    """

    name: str
    column: str | None
    is_order: bool
    p_features: float
    p_errors: float
    p: float
    strength: float

    @property
    def speaks(self) -> bool:
        """Whether related rows are more alike than chance, in features and in errors."""
        return self.p < LEVEL


@dataclass(frozen=True, kw_only=True)
class CandidateTests:
    """A file of its own, from which a run goes on: what was tested."""

    tested: list[Candidate]
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Whether related rows are, or would be, on both sides of the split, and what that is worth.

    Attributes:
        kept: What the folds of the run keep apart; None where they keep nothing.
        column: Whose equal or neighbouring values that is.
        tested: Where they keep nothing: the candidates.
        price: None where nothing is kept and no candidate speaks, or the rows can't be split so.
    """

    kept: Literal["groups", "times", "folds"] | None
    column: str | None
    tested: list[Candidate]
    price: Price | None

    @property
    def found(self) -> Candidate | None:
        """The candidate that speaks, of several a group before an order, and the strongest."""
        speaking = [one for one in self.tested if one.speaks]
        return min(speaking, key=lambda one: (one.is_order, -one.strength), default=None)


def price_part(random: FoldsScored, apart: FoldsScored, scorer: Scorer) -> Price:
    """Set two splits of the same rows side by side, on the rows that each fold of the second holds out.

    Args:
        random: Folds that keep nothing together, and their predictions.
        apart: Folds that keep related rows together, and theirs.
        scorer: The task's.
    """
    metric = scorer.primary_metric
    sign = 1 if scorer.higher_is_better[metric] else -1
    differences: list[float | None] = []
    at_random = random[1].drop_columns(["repeat", "fold"])  # several score the rows of one
    for fold in apart[0]:
        own = apart[1].filter(pc.equal(apart[1]["fold"], fold.fold))
        same = at_random.filter(pc.is_in(at_random["row_id"], value_set=own["row_id"].combine_chunks()))
        scores = [scorer.score(table).get(metric) if table.num_rows else None for table in (same, own)]
        differences.append(None if None in scores else sign * (scores[0] - scores[1]))  # type: ignore[operator]
    known = [one for one in differences if one is not None]
    test = corrected(known, folds_of(apart[0]))
    return Price(
        metric=metric,
        random=_arm(random[0], metric),
        apart=_arm(apart[0], metric),
        differences=differences,
        difference=float(np.mean(known)) if known else None,
        interval=test.interval if test else None,
        p=test.p if test else None,
    )


def _arm(folds: Sequence[FoldResult], metric: str) -> Arm:
    scores = [fold.scores.get(metric) for fold in folds]
    return Arm(
        scores=scores,
        mean=over_folds(scores).mean,
        num_train=float(np.mean([fold.num_train for fold in folds])),
    )
