"""What results.json holds, as dataclasses: its shape follows from their annotations. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.config.training import is_solved
from hf_transfer.runs.base_origin import BaseOrigin
from hf_transfer.runs.final_record import Final, RowScores
from hf_transfer.runs.findings import Interval, Learned, Overfitting
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.leak_record import Leak
from hf_transfer.runs.paired import Pair
from hf_transfer.runs.schema import FORMAT_VERSION, REST
from hf_transfer.scores.calibration import Calibration
from hf_transfer.scores.findings import ClassChange, Detections, GroupChanges
from hf_transfer.scores.learning_curve import CurveReading
from hf_transfer.scores.over_folds import Cuts, FoldMean, Score
from hf_transfer.scores.scorer import ClassScores
from hf_transfer.scores.shuffled import ShuffleReading
from hf_transfer.scores.site_reading import SiteReading


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """The rows of a run: where they come from, and how many there are of each class."""

    name: str
    config: str | None
    split: str | None
    fingerprint: str
    num_rows: int
    hub: bool
    column: str
    label_column: str
    class_counts: Mapping[str, int]
    grouped_by: str | None = None
    kept_by: str | None = None  # what rows that stay together have in common, where they hold it
    num_groups: int | None = None  # of rows that stay together, and the rows of the largest
    largest_group: int | None = None


@dataclass(frozen=True)
class Choice:
    """How the reported configuration was chosen: by which rule, at which costs, and what had been found."""

    rule: Literal["best", "one standard error"] = "best"
    costs: list[float] | None = None
    found: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class StoredLayers:
    """Frozen layers whose output was stored and replayed."""

    cut: str
    stored_per_row: list[int]
    bytes: int
    reused: bool
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A configuration of a grid, and how it stands to the best one.

    Attributes:
        settings: Those that tell it from others, and its rate and weight decay.
        parameters: That learned.
        best: Whether it is reported.
        scores: Over folds, by the metric's name.
        behind: Mean of how much better the best one was.
        p: Of the corrected resampled t-test of that; None where it cannot be made.
        p_holm: The same adjusted for the number of these tests.
        bbc: Of the best one, its primary metric corrected for having been chosen.
    """

    settings: Mapping[str, Any] = field(metadata=REST)
    parameters: int | None = None
    best: bool
    scores: Mapping[str, FoldMean]
    behind: float | None = None
    p: float | None = None
    p_holm: float | None = None
    bbc: float | None = None

    @property
    def learning_rate(self) -> Any:
        """A number, but where a head in closed form left it to the kit."""
        return self.settings["learning_rate"]

    @property
    def solved(self) -> bool:
        """Whether its head is in closed form."""
        return is_solved(self.settings.get("head_solver", "gradient"))


@dataclass(frozen=True, kw_only=True)
class GridEntry(Tried):
    """A configuration of a grid with its folds."""

    folds: list[FoldResult]

    @property
    def without_folds(self) -> Tried:
        """Itself as search.json lists it."""
        return Tried(**{f.name: getattr(self, f.name) for f in fields(Tried)})


@dataclass(frozen=True)
class FrozenProof:
    """Digests of the frozen layers before and after training."""

    groups: list[str]
    hash_before: str | None
    hash_after: str | None
    equal: bool


@dataclass(frozen=True)
class Trainable:
    """How many parameters learned, of how many, by which setting."""

    parameters: int
    total: int
    spec: str


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """A line of the freeze table."""

    group: str
    modules: int
    parameters: int
    trainable: int
    status: str
    learning_rate: float | None
    norm: str | None
    dropout: str | None


@dataclass(frozen=True, kw_only=True)
class CurveSize:
    """One size of the learning curve: scores of each fold, their mean, and an interval over rows."""

    percent: int
    num_train: float
    scores: list[float | None]
    train_scores: list[float | None]
    mean: float | None
    train_mean: float | None
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class LearningCurve(CurveReading):
    """What more rows would give, by the same folds on fewer of their training rows."""

    metric: str
    sizes: list[CurveSize]
    verdict: str
    failed: int


@dataclass(frozen=True, kw_only=True)
class ShuffledLabels(ShuffleReading):
    """What folds that were trained on shuffled labels reach."""

    runs: int
    unit: str
    train_score: float | None
    true_train_score: float | None
    verdict: str
    failed: int


@dataclass(frozen=True)
class Probe:
    """What a head in closed form reaches in each fold of the first repeat."""

    metric: str
    folds: list[int]
    scores: list[float | None]
    mean: float | None


@dataclass(frozen=True, kw_only=True)
class ZeroShot:
    """What a pretrained model reaches in each fold without training, by the names of the labels.

    Attributes:
        model: Hub id or folder.
        revision: Commit, or a digest of the files.
        template: Sentence that the names were put into.
        prompts: The sentences, in the order of the labels' ids.
        folder: Name of the folders of its predictions, within `folds/`.
        metric: That both were compared by.
        scores: Over folds, by the metric's name.
        pair: Itself first, the run second.
        verdict: Both in a line.
    """

    model: str
    revision: str | None
    template: str
    prompts: list[str]
    folder: str
    metric: str
    scores: Mapping[str, FoldMean]
    pair: Pair
    verdict: str


@dataclass(frozen=True, kw_only=True)
class WiseTest:
    """What weights reach that were averaged with those before fine-tuning.

    Attributes:
        metric: That they were compared by.
        means: Over folds, of both ends and of the average.
        against_start: Pretrained weights with a solved head first, the average second.
        against_tuned: Plain fine-tuning first, the average second.
        verdict: All in a line.
        curve: By the share, the same share in every fold, whatever was chosen; none of earlier versions.
    """

    metric: str
    means: Mapping[str, FoldMean]
    against_start: Pair
    against_tuned: Pair
    verdict: str
    curve: Mapping[str, FoldMean] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AddedSource:
    """What other labelled rows in every training part do to linear heads, or to the models that are trained.

    Attributes:
        name: Of the other data.
        fingerprint: Of its rows, as they were opened.
        num_rows: That were added.
        num_dropped: Left out, as the run's data has the same inputs.
        folder: Name of the folders of the predictions, within `folds/`.
        alone: Mean over folds of the primary metric without them.
        added: The same with them.
        pair: Without them first, with them second.
        classes: How each class changes; none where a row is not right or wrong.
        groups: How many groups lose; None where rows have no group, or are not right or wrong.
        trained: Whether each fold was trained with them, as layers learn; else linear heads were solved on
            frozen features.
        verdict: Whether adding them is better or worse, each tested on its side, corrected for all tests:
            helps, hurts, or can't tell.
    """

    name: str
    fingerprint: str
    num_rows: int
    num_dropped: int
    folder: str
    alone: float | None
    added: float | None
    pair: Pair
    classes: list[ClassChange]
    groups: GroupChanges | None = None
    trained: bool = False
    verdict: str = ""

    def __post_init__(self) -> None:
        if not self.verdict:  # also of an earlier version
            found = {"second is better": "helps", "first is better": "hurts"}
            object.__setattr__(self, "verdict", found.get(self.pair.verdict, "can't tell"))

    @property
    def losing(self) -> list[ClassChange]:
        """Classes of which fewer rows are right."""
        return [one for one in self.classes if one.added < one.alone]


@dataclass(frozen=True, kw_only=True)
class PartScores:
    """What heads in closed form reach on the features of each part of an input alone, and of all.

    Attributes:
        metric: The primary one.
        folds: Of the first repeat.
        scores: Of each fold, by part.
        means: Over folds, by part.
        best: The part that is best alone.
        ahead: How much better all are than that part, on average.
        interval: Of `ahead`, corrected for shared training rows.
        p: Of `ahead`; None where it does not vary.
    """

    metric: str
    folds: list[int]
    scores: Mapping[str, list[float | None]]
    means: Mapping[str, float | None]
    best: str
    ahead: float | None
    interval: tuple[float, float] | None
    p: float | None


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What a run was made on, and how long it took."""

    device: str
    num_processes: int
    num_threads: int
    parallel: str
    mixed_precision: str | None = None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Results:
    """All that results.json holds: the contract between computing and publishing."""

    format_version: int = FORMAT_VERSION
    kit_version: str
    created: str
    task: str
    input: str | None = None  # what goes in, as --kind calls it; the usual one of the task when not said
    target: str | None = None  # what the labels are; the usual kind of the task when not said
    base_model: str
    base_model_revision: str | None
    architecture: str
    library: str
    from_scratch: bool
    base_origin: BaseOrigin | None = None  # of a base model that a run or `pretrain` made
    dataset: DatasetFacts
    config: RunConfig  # of what is reported, with the lists that it was chosen from
    choice: Choice = field(default_factory=Choice)
    replay: list[StoredLayers] = field(default_factory=list)
    label_names: list[str]
    folds_path: str
    folds_scheme: str
    folds_fingerprint: str
    num_folds: int
    num_repeats: int
    scores: Mapping[str, Score]
    primary_metric: str
    higher_is_better: Mapping[str, bool]
    per_class: list[ClassScores]
    confusion: list[list[int]] | None
    scatter: list[list[float]] | None = None  # true numbers, then predicted ones, of some rows
    ranges: Mapping[str, list[float | None]] = field(
        default_factory=dict
    )  # what a score can be at least, most
    calibration: Calibration | None = None
    detections: Detections | None = None
    cuts: Cuts | None = None  # from which value on a label is given, or a grade
    grid: list[GridEntry] | None
    frozen_proof: FrozenProof | None
    trainable: Trainable
    layers: list[LayerRow]
    final: Final
    test: RowScores | None
    learning_curve: LearningCurve | None = None
    shuffled: ShuffledLabels | None = None
    probe: Probe | None = None
    zero_shot: ZeroShot | None = None
    parts: PartScores | None = None
    wise: WiseTest | None = None
    added_sources: list[AddedSource] = field(default_factory=list)
    site: SiteReading | None = None
    leak: Leak | None = None
    notes: list[str]
    hardware: Hardware
    versions: Mapping[str, str]
    command: str
    folds: list[FoldResult]
    overfitting: Overfitting | None = None  # follows from all the rest, and so does the next
    learned: Learned | None = None

    @property
    def done(self) -> list[FoldResult]:
        """The folds that have a result."""
        return [fold for fold in self.folds if fold.status == "done"]

    @property
    def headline(self) -> Score | None:
        """The primary metric over folds."""
        return self.scores.get(self.primary_metric)

    @property
    def sign(self) -> int:
        """1 if more of the primary metric is better, else -1."""
        return 1 if self.higher_is_better.get(self.primary_metric, True) else -1
