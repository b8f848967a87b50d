"""What pretrain.json holds: a model that went on learning without labels, and from which rows. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hf_transfer import _guard  # noqa: F401
from hf_transfer.runs.schema import FORMAT_VERSION

PRETRAIN_FILE = "pretrain.json"

Interval = tuple[float, float]
PretrainVerdict = Literal["better", "no gain", "worse", "not probed"]


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The rows without labels that were learned from, `num_held_out` of them only measured."""

    name: str
    split: str
    fingerprint: str
    num_rows: int
    num_held_out: int


@dataclass(frozen=True, kw_only=True)
class EpochLoss:
    """Losses after an epoch; of epoch 0, before any update.

    Attributes:
        feature_spread: How far features of rows held out point in different directions: 0 all in one, 1
            evenly in all; None where the objective can't make them alike.
    """

    epoch: int
    train_loss: float | None
    held_out_loss: float
    feature_spread: float | None = None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class LinearProbe:
    """A linear model on frozen features, before and after, under the same folds of labelled rows.

    Attributes:
        metric: That both are scored by.
        before: Score of each fold and repeat by the base model.
        after: The same by the pretrained one.
        difference: Mean of after minus before.
        interval: Of it, allowing for shared training rows, 95 %.
        p_better: One-sided, of the corrected resampled t-test; None where all folds differ equally.
        p_worse: The same for a loss.
        num_shared: Rows that are in the pool too.
        identity: Digest of all that decides it beside the model.
    """

    dataset: str
    metric: str
    num_rows: int
    num_folds: int
    before: list[float]
    after: list[float]
    difference: float
    interval: Interval
    p_better: float | None
    p_worse: float | None
    num_shared: int
    identity: str | None = None


@dataclass(frozen=True, kw_only=True)
class PretrainRecord:
    """The whole of pretrain.json.

    Attributes:
        new_weights: Names of the weights that the base model lacked.
        identity: Digest of all that decides the training.
        rows: Digest of the content of each row of the pool, and of those that the base model was itself
            pretrained on by the kit.
    """

    format_version: int = FORMAT_VERSION
    kit_version: str
    verdict: PretrainVerdict
    base_model: str
    revision: str | None
    from_scratch: bool
    objective: str
    new_weights: list[str]
    pool: Pool
    losses: list[EpochLoss]
    probe: LinearProbe | None = None
    identity: str
    notes: list[str]
    versions: Mapping[str, str]
    seconds: float
    rows: list[str] = field(default_factory=list)
