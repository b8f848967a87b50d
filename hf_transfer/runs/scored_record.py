"""The record of a published model's scores on labelled rows that no part of the run has seen. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.wording import aligned, count, interval, number, paragraphs_html, table_html, visible
from hf_transfer.runs.findings import Interval
from hf_transfer.runs.schema import FORMAT_VERSION
from hf_transfer.scores.names import shown_first
from hf_transfer.scores.scorer import ClassScores

SCORED_FOLDER = "scored"
SCORES_FILE = "scores.json"
PREDICTIONS, WISE_CURVE = "predictions", "wise_curve"  # tables beside it

_CHOSEN_ON_ROWS = (
    "The published share was chosen without these rows. A share that is chosen by this curve is chosen on "
    "them: its score here is too good, and other rows have to judge it."
)


@dataclass(frozen=True)
class RowScore:
    """A score of all rows together, its interval over them, and what cross-validation said of it."""

    value: float | None
    interval: Interval | None
    cross_validated: float | None


@dataclass(frozen=True)
class SharePoint:
    """What a share of the fine-tuned weights reaches, by the primary metric.

    Attributes:
        share: The others are those before fine-tuning.
        value: The score of all rows together, of outputs as they come.
        interval: Of it, over the rows.
        cross_validated: Mean over the run's folds; None where they were not scored at this share.
        published: Whether the run published this share.
    """

    share: float
    value: float | None
    interval: Interval | None
    cross_validated: float | None
    published: bool


@dataclass(frozen=True, kw_only=True, repr=False)
class ScoredRows:
    """The file scored/NAME/scores.json.

    Attributes:
        name: Of the data set.
        split: That was scored.
        fingerprint: Of the rows.
        num_rows: That were scored.
        num_seen: That were left out, as the model has learned from them; None where that is not known.
        class_counts: Rows of each class.
        primary_metric: Of the run.
        unit: What the intervals draw: row or group.
        scores: By the metric's name.
        per_class: Scores of each class.
        confusion: Rows by true and predicted class.
        sha256: Of the weights that were scored.
        notes: What to know of the rows.
        wise_curve: Shares of the fine-tuned weights, from none to all; empty where it was not asked for.
    """

    format_version: int = FORMAT_VERSION
    kit_version: str
    name: str
    split: str
    fingerprint: str
    num_rows: int
    num_seen: int | None
    class_counts: Mapping[str, int]
    primary_metric: str
    unit: str
    scores: Mapping[str, RowScore]
    per_class: list[ClassScores]
    confusion: list[list[int]] | None
    sha256: Mapping[str, str] | None
    notes: list[str] = field(default_factory=list)
    wise_curve: list[SharePoint] = field(default_factory=list)

    def to_text(self) -> str:
        """A table of the scores, the notes, and the curve over shares."""
        lines = [self._about, aligned(self._rows), self._drawn, *self.notes]
        if self.wise_curve:
            lines += ["", self._about_curve, aligned(self._curve_rows), _CHOSEN_ON_ROWS]
        return visible("\n".join(lines))

    def __repr__(self) -> str:
        score = self.scores[self.primary_metric]
        found = f"{self.primary_metric} {number(score.value)}, {interval(score.interval)}"
        return f"ScoredRows({self._about}: {found})"

    def _repr_html_(self) -> str:
        """What `to_text` says, for a notebook."""
        page = paragraphs_html([self._about]) + table_html(self._rows) + paragraphs_html(self.notes)
        if self.wise_curve:
            page += paragraphs_html([self._about_curve]) + table_html(self._curve_rows)
            page += paragraphs_html([_CHOSEN_ON_ROWS])
        return page

    @property
    def _about(self) -> str:
        return f"{count(self.num_rows, 'row')} of {self.name}, split {self.split}, by the published model"

    @property
    def _drawn(self) -> str:
        return f"interval: bootstrap over {self.unit}s, with the model as it is"

    @property
    def _rows(self) -> list[list[str]]:
        rows = [["", "score", "95 % interval", "cross-validation"]]
        for name in shown_first(self.primary_metric, self.scores, 4):
            score = self.scores[name]
            rows.append([name, number(score.value), interval(score.interval), number(score.cross_validated)])
        return rows

    @property
    def _about_curve(self) -> str:
        return f"{self.primary_metric} by the share of the fine-tuned weights; the rest is pretrained"

    @property
    def _curve_rows(self) -> list[list[str]]:
        rows = [["share", "the run's folds", "these rows", "95 % interval", ""]]
        for one in self.wise_curve:
            cells = [f"{one.share:g}", number(one.cross_validated), number(one.value), interval(one.interval)]
            rows.append([*cells, "published" if one.published else ""])
        return rows


def scored_folder(run: Path, record: ScoredRows) -> Path:
    """Where the scores of these rows are kept, in the run's folder."""
    plain = "".join(letter if letter.isalnum() else "-" for letter in Path(record.name).stem.split(":")[-1])
    return run / SCORED_FOLDER / f"{plain.strip('-') or 'rows'}-{record.fingerprint[:8]}"
