"""The record of the model to publish: how it was made, and what is known of it. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hf_transfer import _guard  # noqa: F401
from hf_transfer.runs.schema import FORMAT_VERSION
from hf_transfer.runs.share import Wise
from hf_transfer.scores.scorer import Scores

MOST_DIFFERENCE = 1e-6  # between a model and what plain libraries load


@dataclass(frozen=True)
class RowScores:
    """Scores of the published model on rows that no fold has.

    Attributes:
        num_rows: How many.
        scores: With outputs as they come.
        cut: Those that cut points change, with the published ones; None where there are none.
    """

    num_rows: int
    scores: Scores
    cut: Scores | None = None


@dataclass(frozen=True)
class Agreement:
    """The share of rows for which the published model predicts what the folds' did, and what is expected."""

    share: float | None
    expected: float | None


@dataclass(frozen=True)
class SoupTest:
    """A soup beside the models that it was made of, by one metric on the same sealed rows.

    Attributes:
        metric: Its name.
        soup: The soup's score.
        members: Mean score of the models.
        needed: What the soup had to reach: one standard error worse than `members`.
        accepted: Whether it did.
    """

    metric: str
    soup: float | None
    members: float | None
    needed: float | None
    accepted: bool


@dataclass(frozen=True)
class SharedStart:
    """The new weights that all folds began with: their seed and digest."""

    seed: int
    hash: str


@dataclass(frozen=True)
class Reload:
    """How a saved model answered when plain libraries had loaded it, beside the model that was saved.

    Attributes:
        num_rows: That were compared.
        difference: The largest between outputs, in units of the largest output; None where it did not load.
        sha256: Of each file by which it was read, beside the weights.
        error: Why it did not load.
    """

    num_rows: int
    difference: float | None
    sha256: Mapping[str, str]
    error: str | None = None

    @property
    def problem(self) -> str | None:
        """Why the model may not be published; None if it may."""
        if self.error is not None:
            return f"plain libraries cannot use it: {self.error}"
        if self.difference is None or not self.difference <= MOST_DIFFERENCE:
            return (
                f"loaded by plain libraries, its outputs differ by {self.difference} from those it had, and "
                f"at most {MOST_DIFFERENCE:g} is allowed"
            )
        return None


@dataclass(frozen=True, kw_only=True)
class Final:
    """How the model to publish was made.

    Attributes:
        kind: `none` also where it could not be made, see `error`.
        path: Of its folder in the run's.
        num_epochs: Of its training.
        num_rows: That it learned from.
        temperature_in_weights: Whether its logits come divided by the temperature.
        sealed: Its scores on sealed rows.
        notes: What to know of it.
        weight_decay: The penalty of a head in closed form.
        wise: How its weights were averaged with those before fine-tuning.
        agreement: With the folds' models.
        members: Names of the folds' models that it is made of.
        soup: What a mean of weights was accepted or refused by.
        start: Of the models that were averaged.
        sha256: Of each file of weights.
        reload: What became of it when it was loaded again.
        error: Why there is none.
    """

    kind: Literal["refit", "ensemble", "soup", "none"]
    path: str | None = None
    num_epochs: int | None = None
    num_rows: int | None = None
    temperature_in_weights: bool = False
    sealed: RowScores | None = None
    notes: list[str] = field(default_factory=list)
    weight_decay: float | None = None
    wise: Wise | None = None
    agreement: Agreement | None = None
    members: list[str] | None = None
    soup: SoupTest | None = None
    start: SharedStart | None = None
    sha256: Mapping[str, str] | None = None
    reload: Reload | None = None
    error: str | None = None


@dataclass(frozen=True)
class KeptFinal:
    """The file final/done.json: a model that is finished, and a digest of all that decided it.

    The last two are those of `KeptFold`.
    """

    identity: str
    final: Final
    test: RowScores | None
    format_version: int = FORMAT_VERSION
    files: Mapping[str, str] = field(default_factory=dict)
    digest: str | None = None
