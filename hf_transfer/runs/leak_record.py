"""What random folds would say beside folds that keep related rows apart, as results.json has it. No torch."""

from dataclasses import dataclass
from typing import Literal

from hf_transfer import _guard  # noqa: F401
from hf_transfer.runs.findings import Interval
from hf_transfer.runs.schema import FORMAT_VERSION

RANDOM, APART = "random-folds", "apart"
"""Folders of the folds that stand beside those of the run: they keep nothing together, or what is related."""

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
    def misleads(self) -> bool:
        """Whether random folds are worse by more than noise, as where rows differ in little but the label."""
        return self.interval is not None and self.interval[1] < 0

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
        speaks: Whether they are more alike than chance, in features and in errors.
    """

    name: str
    column: str | None
    is_order: bool
    p_features: float
    p_errors: float
    p: float
    strength: float
    speaks: bool


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
