"""The record of one fold, in results.json and in the fold's own folder. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

from hf_transfer import _guard  # noqa: F401
from hf_transfer.runs.schema import FORMAT_VERSION
from hf_transfer.runs.share import Wise
from hf_transfer.scores.scorer import Scores


@dataclass(frozen=True)
class Reading:
    """One look at held-out rows: when, what for, how many, by which weights, and what was predicted."""

    at: str
    purpose: str
    rows: int
    weights: str
    predictions: str


@dataclass(frozen=True)
class Environment:
    """What a fold was trained with: the same bits come again only with the same."""

    kit_version: str
    python_version: str
    torch_version: str
    transformers_version: str
    threads: int
    device: str

    @property
    def arithmetic(self) -> tuple[int, str]:
        """What changes bits, and the user may choose: threads, and the kind of device."""
        return self.threads, self.device.partition(":")[0]


@dataclass(frozen=True)
class FoldResult:
    """One fold of one configuration, on its own folder's word."""

    repeat: int
    fold: int
    num_train: int
    num_valid: int
    seed: int
    seconds: float = 0.0
    num_epochs: int = 0
    scores: Scores = field(default_factory=dict)
    train_scores: Scores = field(default_factory=dict)
    train_rows_scored: int = 0
    status: Literal["done", "failed"] = "done"
    error: str | None = None
    parameters: int | None = None  # that learned
    frozen_hash_before: str | None = None
    frozen_hash_after: str | None = None
    readings: list[Reading] = field(default_factory=list)
    start_hash: str | None = None
    weight_decay: float | None = None  # the penalty of a head in closed form
    notes: list[str] = field(default_factory=list)
    wise: Wise | None = None
    environment: Environment | None = None  # None where nothing was trained, and of earlier versions


@dataclass(frozen=True)
class KeptFold(FoldResult):
    """A fold's own file, done.json or failed.json: its result, and a digest of what it was found with.

    Attributes:
        files: Digest of each file beside it; none of earlier versions.
        digest: Of all else that it says.
    """

    identity: str = ""
    format_version: int = FORMAT_VERSION
    files: Mapping[str, str] = field(default_factory=dict)
    digest: str | None = None

    @property
    def result(self) -> FoldResult:
        """What results.json has of it."""
        return FoldResult(**{f.name: getattr(self, f.name) for f in fields(FoldResult)})


@dataclass(frozen=True)
class Epoch:
    """One line of a fold's history.jsonl."""

    epoch: int
    phase: str = "all"
    train_loss: float | None = None
    learning_rate: float | None = None
    seconds: float | None = None
    inner_loss: float | None = None
