"""What search.json holds: layers and rates tried on few rows, and what the folds say. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.training import is_solved
from hf_transfer.runs.records import Tried
from hf_transfer.runs.schema import FORMAT_VERSION
from hf_transfer.scores.over_folds import Score

Mode = Literal["design-slice", "nested", "shared", "exhaustive"]


@dataclass(frozen=True, kw_only=True)
class SearchCandidate:
    """A choice of layers with the settings that go with it, and the rates to try."""

    name: str
    trainable: str
    layer_decay: Any
    head_start: Any
    head_solver: str
    num_epochs: Any  # auto of a head in closed form, which has none
    learning_rates: list[float]
    parameters: int
    cost: float

    @property
    def solved(self) -> bool:
        """Whether its head is in closed form."""
        return is_solved(self.head_solver)


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One training on a half of the rows, and its loss on the other; None where that was infinite."""

    candidate: str
    learning_rate: float
    half: int
    loss: float | None
    passes: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class KeptTrial(TrialRecord):
    """A trial's own file, with the name of the rows that it was on."""

    tag: str
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """A candidate at a rate that was tried on both halves, or on more rows (`whole`)."""

    candidate: str
    learning_rate: float
    parameters: int
    losses: list[float | None]
    behind: float | None
    whole: float | None
    chosen: bool


@dataclass(frozen=True)
class SearchRows:
    """How many rows there are, were chosen by, and judged the choice."""

    all: int
    selection: int | None = None
    judged: int | None = None


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What the real folds say of the choice, and of all that was scored by them."""

    metric: str
    num_rows: int
    score: Score
    trainable: str
    layer_decay: Any
    learning_rate: Any  # a number, but where a head in closed form left it to the kit
    head_solver: str
    num_epochs: Any  # auto of a head in closed form, which has none
    parameters: int
    total: int
    tried: list[Tried]

    @property
    def solved(self) -> bool:
        """Whether its head is in closed form."""
        return is_solved(self.head_solver)


@dataclass(frozen=True, kw_only=True)
class Search:
    """The whole of search.json.

    Attributes:
        mode: How it was searched.
        candidates: What could be chosen.
        rows: Numbers of rows; None where no trials were made.
        trials: All that were run, in order.
        finalists: Of each choice that was made: one, or in a nested search one a fold.
        partial: Why there is no score, if there is none.
        skipped: What there was no time for.
        judged: By the real folds.
        verdicts: In words, by what they are about.
        seconds: Of all.
    """

    format_version: int = FORMAT_VERSION
    mode: Mode
    candidates: list[SearchCandidate]
    rows: SearchRows | None = None
    trials: list[TrialRecord] = field(default_factory=list)
    trial_seconds: float = 0.0
    trial_passes: float = 0.0
    finalists: list[list[Finalist]] = field(default_factory=list)
    partial: str | None = None
    skipped: str | None = None
    judged: Judged | None = None
    seconds: float = 0.0
    verdicts: Mapping[str, str] = field(default_factory=dict)
