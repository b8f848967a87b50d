"""What random folds would say beside folds that keep related rows apart, as results.json has it. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hf_transfer import _guard  # noqa: F401
from hf_transfer.runs.findings import Interval
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.paired import LEVEL, folds_of
from hf_transfer.runs.schema import FORMAT_VERSION
from hf_transfer.scores.over_folds import over_folds
from hf_transfer.scores.scorer import Scorer
from hf_transfer.scores.statistics import corrected_difference

RANDOM, APART = "random-folds", "apart"
"""Folders of the folds that stand beside those of the run: they keep nothing together, or what is related."""


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
        difference: By how much the former is better, whichever way the metric goes.
        interval: Of that, allowing for other training sets.
        p: That there is no difference.
    """

    metric: str
    random: Arm
    apart: Arm
    difference: float | None
    interval: Interval | None
    p: float | None

    @property
    def is_paid(self) -> bool:
        """Whether random folds are better by more than noise."""
        return self.interval is not None and self.interval[0] > 0


@dataclass(frozen=True, kw_only=True)
class Tested:
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
class TestedRows:
    """A file of its own, from which a run goes on: what was tested."""

    tested: list[Tested]
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
    tested: list[Tested]
    price: Price | None

    @property
    def found(self) -> Tested | None:
        """The candidate that speaks, of several a group before an order, and the strongest."""
        speaking = [one for one in self.tested if one.speaks]
        return min(speaking, key=lambda one: (one.is_order, -one.strength), default=None)


def price_part(random: Sequence[FoldResult], apart: Sequence[FoldResult], scorer: Scorer) -> Price:
    """Set two splits of the same rows side by side.

    Args:
        random: Folds that keep nothing together.
        apart: Folds that keep related rows together.
        scorer: The task's.
    """
    metric = scorer.primary_metric
    arms, sign = [_arm(folds, metric) for folds in (random, apart)], scorer.higher_is_better[metric] or -1
    known = [[sign * score for score in arm.scores if score is not None] for arm in arms]
    test = None
    if min(map(len, known)) > 1 and max(map(np.ptp, known)) > 0:
        test = corrected_difference((known[0], folds_of(random)), (known[1], folds_of(apart)))
    return Price(
        metric=metric,
        random=arms[0],
        apart=arms[1],
        difference=float(np.mean(known[0]) - np.mean(known[1])) if all(known) else None,
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
