"""What shift.json holds: two data sets, and what a model trained on the first would do on the second."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hf_transfer import _guard  # noqa: F401
from hf_transfer.runs.schema import FORMAT_VERSION

Interval = tuple[float, float]
RowId = int | str
ShiftVerdict = Literal["none", "mild", "another domain"]


@dataclass(frozen=True, kw_only=True)
class ComparedData:
    """One of the two data sets, without rows that repeat another; `title` tells it from the other one."""

    name: str
    split: str
    fingerprint: str
    num_rows: int
    labelled: bool
    title: str


@dataclass(frozen=True)
class TellingRow:
    """A row that looks most like its own data set: how much it seems to be of the second one."""

    row: RowId
    score: float
    excerpt: str


@dataclass(frozen=True, kw_only=True)
class DomainTest:
    """How well rows of the two are told apart by a model that has not seen them.

    Attributes:
        auc: 0.5 for rows of one domain.
        p: Of a permutation test.
        found_from: The area from which on p would be below 0.05.
        a_distance: From 0 to 2.
        control_auc: The same for two random halves of the first data set; None where they are too few.
        num_rows: Compared, of each.
        num_permutations: Of the test.
        unit: What changed places, `row` or `group`.
        telling_source: Rows of the first that look least like the second.
        telling_target: Rows of the second that look least like the first.
    """

    auc: float
    p: float
    found_from: float
    a_distance: float
    control_auc: float | None
    num_rows: tuple[int, int]
    num_permutations: int
    unit: str
    telling_source: list[TellingRow]
    telling_target: list[TellingRow]


@dataclass(frozen=True)
class FarRow:
    """A row of the second data set that is far from the first, and the nearest row there."""

    row: RowId
    distance: float
    excerpt: str
    nearest_id: RowId
    nearest_excerpt: str


@dataclass(frozen=True)
class Distances:
    """How far rows of the second are from those of the first, in its standard deviations.

    Attributes:
        far: 95 % of the rows of the first have another of them within this distance.
        share_far: Share of the second that has none.
        farthest: The farthest.
    """

    far: float
    share_far: float
    farthest: list[FarRow]


@dataclass(frozen=True)
class GivenLabels:
    """How often the model gives each label in either data set, and whether the shares differ."""

    label_names: list[str]
    source_counts: list[int]
    target_counts: list[int]
    statistic: float
    p: float


@dataclass(frozen=True)
class LeftOutPart:
    """A part of the first data set that was treated as if it were the second, without labels."""

    name: str
    num_rows: int
    estimated: float
    true: float


@dataclass(frozen=True, kw_only=True)
class EstimatedAccuracy:
    """Accuracy on the second data set, estimated without its labels.

    Attributes:
        source_accuracy: Of the linear head on rows of the first that it did not learn from.
        estimated: By the threshold on the negative entropy.
        by_probability: By the threshold on the greatest probability.
        mean_error: How far the estimate was off on parts of the first that were left out, on average.
        worst_error: And at most.
        left_out: What those parts were: `domain`, `group` or `fold`.
        parts: Each of them.
        target_accuracy: By labels that came with the second data set; None without them.
    """

    source_accuracy: float
    estimated: float
    by_probability: float
    mean_error: float
    worst_error: float
    left_out: str
    parts: list[LeftOutPart]
    target_accuracy: float | None


@dataclass(frozen=True)
class Clouds:
    """Rows of both on the two axes along which the first varies most, and its variance along each."""

    source_points: list[tuple[float, float]]
    target_points: list[tuple[float, float]]
    explained: tuple[float, float]


@dataclass(frozen=True)
class DrawnRows:
    """Rows of the second data set that were drawn at random, to be labelled."""

    seed: int
    row_ids: list[RowId]
    table: str
    page: str


@dataclass(frozen=True, kw_only=True)
class LabelledAccuracy:
    """Accuracy on the second data set, by labels of rows that were drawn at random.

    Attributes:
        num_rows: That were labelled.
        num_right: Of which the model has right.
        accuracy: Their share.
        exact: Interval of it by Clopper and Pearson, 95 %.
        powered: Estimate with the rows without labels, by prediction-powered inference.
        powered_interval: Of it, by the normal approximation, 95 %.
        weight: How much the rows without labels count in it, from 0 to 1.
    """

    num_rows: int
    num_right: int
    accuracy: float
    exact: Interval
    powered: float
    powered_interval: Interval
    weight: float


@dataclass(frozen=True, kw_only=True)
class ShiftRecord:
    """The whole of shift.json."""

    format_version: int = FORMAT_VERSION
    kit_version: str
    base_model: str
    task_name: str
    input_name: str
    seed: int
    source_data: ComparedData
    target_data: ComparedData
    shared_rows: tuple[int, int]
    verdict: ShiftVerdict
    domain_test: DomainTest
    distances: Distances
    given_labels: GivenLabels | None
    estimate: EstimatedAccuracy | None
    clouds: Clouds
    drawn: DrawnRows | None = None
    by_labels: LabelledAccuracy | None = None
    notes: list[str]
    versions: Mapping[str, str]
    seconds: float
    conclusion: str = ""
