"""What rank.json holds: pretrained models in the order of what their frozen features reach. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hf_transfer import _guard  # noqa: F401
from hf_transfer.runs.schema import FORMAT_VERSION

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class RankedData:
    """The rows that models were ranked on."""

    name: str
    split: str | None
    fingerprint: str
    num_rows: int
    num_scored: int
    kind: str
    label_names: list[str]


@dataclass(frozen=True)
class RankedFolds:
    """How those rows were split."""

    scheme: str
    num_folds: int
    num_repeats: int
    seed: int


@dataclass(frozen=True)
class ProbeScore:
    """A score over folds, its cautious interval, and where it was asked for the optimistic one."""

    mean: float
    interval: Interval
    interval_resampled: Interval | None
    folds: list[float]


@dataclass(frozen=True, kw_only=True)
class RankedLayer:
    """One layer group's frozen features; what no control needs is None for one."""

    name: str
    pooling: str | None
    depth: float
    width: int
    knn: float | None
    log_me_gain: float | None
    log_me: float | None
    h_score: float | None
    ridge: ProbeScore


@dataclass(frozen=True)
class Against:
    """One model against something else on the same folds; a p is None where all folds differ equally."""

    other: str
    difference: float
    interval: Interval
    p_better: float | None
    p_worse: float | None
    verdict: Literal["better", "worse", "can't tell"]


@dataclass(frozen=True)
class AgainstEach:
    """A model against its own architecture with random weights, the simple model, and the one below it."""

    scratch: Against | None
    baseline: Against | None
    next: Against | None


@dataclass(frozen=True)
class ShuffledScore:
    """What a model reaches on shuffled labels."""

    mean: float
    p: float
    leak: bool


@dataclass(frozen=True)
class ScratchScore:
    """A model's architecture with random weights."""

    score: ProbeScore
    layers: list[RankedLayer]


@dataclass(frozen=True, kw_only=True)
class RankedModel:
    """A model judged by its frozen features."""

    name: str
    base_model: str
    num_parameters: int
    prior: float | None
    score: ProbeScore
    picked: Mapping[str, int]
    best_layer: str
    best_pooling: str | None
    last_layer: str
    last_pooling: str | None
    over_specialised: bool
    shuffled: ShuffledScore | None
    against: AgainstEach
    layers: list[RankedLayer]
    from_scratch: ScratchScore | None
    features_seconds: float
    features_reused: bool
    conclusion: str = ""


@dataclass(frozen=True)
class SimpleModel:
    """A model without pretraining, and its score."""

    name: str
    score: ProbeScore


@dataclass(frozen=True)
class RankControls:
    """What every model is held against: the best single answer for all rows, and the simple model."""

    constant: float
    baseline: SimpleModel


@dataclass(frozen=True, kw_only=True)
class RankRecord:
    """The whole of rank.json."""

    format_version: int = FORMAT_VERSION
    kit_version: str
    dataset: RankedData
    folds: RankedFolds
    measure: str
    candidates: list[RankedModel]
    controls: RankControls
    notes: list[str]
    versions: Mapping[str, str]
    seconds: float
    trust: str = ""
