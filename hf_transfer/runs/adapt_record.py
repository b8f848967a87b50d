"""What adapt.json holds: heads for another domain, tested against the source's own. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hf_transfer import _guard  # noqa: F401
from hf_transfer.runs.final_record import Reload
from hf_transfer.runs.schema import FORMAT_VERSION

FEWEST_LABELS = 30
"""Fewer say too little of anything: with none more right, an arm needs five rows for p < .05."""

Interval = tuple[float, float]
AdaptVerdict = Literal["adapted", "no better", "same domain", "too few labels", "no labels"]


@dataclass(frozen=True, kw_only=True)
class AdaptedData:
    """Rows of one of the two domains."""

    name: str
    split: str
    fingerprint: str
    num_rows: int


@dataclass(frozen=True, kw_only=True)
class FoundShift:
    """The two-sample test of the domains: the area under its ROC curve, and p that they are one."""

    auc: float
    p: float


@dataclass(frozen=True, kw_only=True)
class TrainedLayers:
    """How arms were trained that change layers of the backbone; the source alone decides it."""

    trainable: str
    num_epochs: int
    learning_rate: float
    batch_size: int
    optimizer: str
    norm: str
    schedule: str


@dataclass(frozen=True, kw_only=True)
class AdaptArm:
    """A head, and what is known of it in the target.

    Attributes:
        name: As `--arms` takes it.
        learns_from: What of the target it learned from.
        changed: Share of target rows for which it answers otherwise than the source's head.
        accuracy: On labelled target rows that it has not seen with their labels.
        interval: Of 95 %, exact.
        gained: Labelled rows that it alone has right.
        lost: Labelled rows that the source's head alone has right.
        p: One-sided, that it is no better.
        adjusted: The same for the number of arms tried.
        left_out: Mean gain in accuracy over the source's own domains, each left out in turn.
        deep: Whether layers of the backbone learned too.
    """

    name: str
    learns_from: Literal["nothing", "rows", "labels"]
    changed: float
    accuracy: float | None = None
    interval: Interval | None = None
    gained: int | None = None
    lost: int | None = None
    p: float | None = None
    adjusted: float | None = None
    left_out: float | None = None
    deep: bool = False


@dataclass(frozen=True, kw_only=True)
class AdaptRecord:
    """The whole of adapt.json.

    Attributes:
        transductive: Whether the arms saw the labelled rows, without their labels, before they were tested
            on them.
        published: The arm whose head is in `model/`.
        trained: How deep arms were trained; None where all are heads on frozen features.
    """

    format_version: int = FORMAT_VERSION
    kit_version: str
    verdict: AdaptVerdict
    published: str
    task: str
    base_model: str
    revision: str | None
    label_names: list[str]
    source: AdaptedData
    target: AdaptedData
    shift: FoundShift
    num_labels: int
    classes_without_label: list[str]
    transductive: bool
    domain_column: str | None
    arms: list[AdaptArm]
    advice: list[str]
    notes: list[str]
    reload: Reload | None
    versions: Mapping[str, str]
    seconds: float
    trained: TrainedLayers | None = None
