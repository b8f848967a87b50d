"""What is concluded from a run's folds: whether it overfits, and whether it has learned enough. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hf_transfer import _guard  # noqa: F401

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Gap:
    """One score on training and on held-out rows: both means, their difference, its interval and p."""

    train: float
    valid: float
    mean: float
    interval: Interval | None
    p: float | None
    num_folds: int


@dataclass(frozen=True, kw_only=True)
class Turn:
    """How the loss on inner splits went on from its lowest point.

    Attributes:
        epoch: Of the lowest mean loss.
        rise: From there to the last epoch, the mean over folds.
        interval: Of the rise, corrected.
        train_fall: Of the training loss over the same epochs.
        num_folds: Folds that have an inner loss.
        turned: Whether the rise is more than noise while the training loss fell.
    """

    epoch: int
    rise: float
    interval: Interval | None
    train_fall: float
    num_folds: int
    turned: bool


@dataclass(frozen=True)
class AboveChance:
    """How far the held-out log loss is above that of the shares of the classes."""

    chance: float
    mean: float
    interval: Interval


@dataclass(frozen=True)
class MoreFrozen:
    """A configuration that trained less and was better: by how much, and the error of that."""

    name: str
    ahead: float
    error: float


@dataclass(frozen=True, kw_only=True)
class Overfitting:
    """Whether a run overfits, and by what: see `overfitting.diagnose`."""

    verdict: Literal["overfits", "stopped in time", "gap", "no sign", "unknown"]
    metric: str
    gaps: Mapping[str, Gap]
    turn: Turn | None
    above_chance: AboveChance | None
    more_frozen: MoreFrozen | None


@dataclass(frozen=True, kw_only=True)
class BehindProbe:
    """A run beside the closed form on the same features: means of both, and how far it is behind.

    Attributes:
        probe: Of the closed form.
        run: Of the run.
        train: Of the run on its training rows.
        behind: Mean over folds.
        error: Of that, corrected.
        num_folds: Folds with both.
        lacks: Whether more training would bring it closer.
    """

    probe: float
    run: float
    train: float | None
    behind: float
    error: float
    num_folds: int
    lacks: bool


@dataclass(frozen=True, kw_only=True)
class FinalFall:
    """How fast the training loss falls at its end, as shares of the first epoch's loss.

    Attributes:
        first: The loss of the first epoch.
        last: That of the last.
        fall: In one epoch, by a line through the last third of the epochs.
        interval: Of the fall over folds, corrected.
        taken: By all epochs.
        num_folds: Folds with two epochs or more.
        falls: Whether the fall is more than noise, and a hundredth.
    """

    first: float
    last: float
    fall: float
    interval: Interval
    taken: float
    num_folds: int
    falls: bool


@dataclass(frozen=True)
class InnerFall:
    """Whether the loss on inner splits was lowest at the last of all epochs, and fell there."""

    epoch: int
    fall: float | None
    error: float | None
    falls: bool


@dataclass(frozen=True, kw_only=True)
class Learned:
    """Whether more training would help, and what that follows from: see `convergence.judge_learning`."""

    answer: Literal["yes", "no", "can't tell"]
    solved: bool | None
    probe: BehindProbe | None
    loss: FinalFall | None
    inner: InnerFall | None
