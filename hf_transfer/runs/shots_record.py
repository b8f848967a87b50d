"""What shots.json holds: what heads that learned from a few rows a class score. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.wording import (
    aligned,
    count,
    duration,
    interval,
    number,
    paragraphs_html,
    probability,
    table_html,
    visible,
)
from hf_transfer.runs.rank_record import Interval, RankedData
from hf_transfer.runs.schema import FORMAT_VERSION

SHOTS_FILE = "shots.json"

_LEVEL = 0.05  # of p, below which a difference is called one


@dataclass(frozen=True)
class Episodes:
    """Accuracy as few-shot papers count it.

    Attributes:
        way: Classes of each episode.
        shots: Rows of each class to learn from.
        asked: Rows of each class that are asked.
        num_episodes: How many.
        mean: Over episodes.
        error: Half of the 95 % interval of that mean, as papers print it.
        std: Of one episode.
    """

    way: int
    shots: int
    asked: int
    num_episodes: int
    mean: float
    error: float
    std: float


@dataclass(frozen=True, kw_only=True)
class ShotScore:
    """What so many rows a class score.

    Attributes:
        shots: Rows of each class.
        mean: Over draws.
        interval: Of that mean, 95 %: other draws, and other rows to ask.
        std: Of one draw.
        one_draw: Where 95 % of the draws lie.
        solvers: The mean by each solver.
        episodes: None where there are too few rows.
        draws: The score of each draw; empty in records of earlier versions.
    """

    shots: int
    mean: float
    interval: Interval
    std: float
    one_draw: Interval
    solvers: Mapping[str, float]
    episodes: Episodes | None
    draws: list[float | None] = field(default_factory=list)

    @property
    def off_by(self) -> float:
        """How far one draw is off the mean of all, at 95 %: half of what 95 % of them span."""
        low, high = self.one_draw
        return (high - low) / 2


@dataclass(frozen=True, kw_only=True)
class SetFitScore:
    """What SetFit scores, whose encoder learns, beside the best head on stored features in the same draws.

    Attributes:
        shots: Rows of each class.
        mean: Of SetFit, over its draws.
        solver: The best head at this size over all draws.
        solver_mean: Of that, over the same few draws as SetFit.
        difference: Of SetFit from it, the mean.
        interval: Of the difference, 95 %, for other draws of the same rows; None without spread.
        p: Of no difference, by the paired t-test over draws; None without spread.
        draws: The score of SetFit in each draw.
        solver_draws: Of the head in each.
        seconds: To train and ask it.
    """

    shots: int
    mean: float
    solver: str
    solver_mean: float
    difference: float
    interval: Interval | None
    p: float | None
    draws: list[float]
    solver_draws: list[float]
    seconds: float

    @property
    def verdict(self) -> str:
        """Which one is better, by the test."""
        if self.p is None or self.p >= _LEVEL:
            return "no difference shown"
        return "SetFit is better" if self.difference > 0 else f"{self.solver} is better"

    @property
    def words(self) -> str:
        """Itself in a line."""
        tested = "" if self.interval is None else f" ({interval(self.interval)}, p {probability(self.p)})"
        return (
            f"SetFit from {count(self.shots, 'row')} a class, {count(len(self.draws), 'draw')}: "
            f"{number(self.mean)}; {self.solver} on stored features, the same draws: "
            f"{number(self.solver_mean)}; {self.difference:+.3f}{tested}: {self.verdict}. It took "
            f"{duration(self.seconds)}."
        )


@dataclass(frozen=True, kw_only=True, repr=False)
class ShotsRecord:
    """The whole of shots.json.

    Attributes:
        dataset: The rows.
        base_model: Whose frozen features.
        measure: The score.
        solver: Of the scores.
        num_draws: Of each size.
        seed: Of the draws.
        sizes: From the fewest rows a class on.
        constant: Score of the best single answer.
        notes: What was left out or found.
        versions: Of libraries.
        seconds: Of all.
        features_seconds: Of those, to compute the features or to find them.
        features_reused: Whether they were found stored.
        setfit: What SetFit scores at each size; empty where it was not asked for.
    """

    format_version: int = FORMAT_VERSION
    kit_version: str
    dataset: RankedData
    base_model: str
    measure: str
    solver: str
    num_draws: int
    seed: int
    sizes: list[ShotScore]
    constant: float
    notes: list[str]
    versions: Mapping[str, str]
    seconds: float
    features_seconds: float
    features_reused: bool
    setfit: list[SetFitScore] = field(default_factory=list)

    def to_text(self) -> str:
        """A table, and what one draw is worth in words."""
        said = "\n".join([*self.said, *(f"Note: {note}" for note in self.notes)])
        return visible("\n\n".join([self.about, aligned(self.rows), said]))

    def __repr__(self) -> str:
        found = ", ".join(f"{size.shots}: {number(size.mean)}" for size in self.sizes)
        return f"ShotsRecord({self.dataset.name} by {self.measure}, rows a class: {found})"

    def _repr_html_(self) -> str:
        """What `to_text` says, for a notebook."""
        return paragraphs_html([self.about]) + table_html(self.rows) + paragraphs_html(self.said)

    @property
    def about(self) -> str:
        """What was drawn from what."""
        classes, rows = len(self.dataset.label_names), self.dataset.num_scored
        return (
            f"{self.dataset.name}: {count(rows, 'row')} of {classes} classes, frozen features of "
            f"{self.base_model}, {count(self.num_draws, 'draw')} of each size, {self.measure} on all other "
            f"rows. The best single answer scores {number(self.constant)}."
        )

    @property
    def rows(self) -> list[list[str]]:
        """A table of the sizes."""
        others = [name for name in self.sizes[0].solvers if name != self.solver]
        rows = [["rows a class", self.solver, "95 % of the mean", "95 % of one draw", *others, "episodes"]]
        for size in self.sizes:
            cells = [str(size.shots), number(size.mean), interval(size.interval), interval(size.one_draw)]
            rows.append([*cells, *(number(size.solvers[name]) for name in others), _episodes(size.episodes)])
        return rows

    @property
    def said(self) -> list[str]:
        """What one draw is worth, and how to read the table."""
        lines = [
            f"With one split of {count(size.shots, 'row')} a class you are ±{100 * size.off_by:.1f} points "
            "off."
            for size in self.sizes
        ]
        told = next((size.episodes for size in self.sizes if size.episodes), None)
        lines.append(
            f"Solver: {self.solver}, a plain linear layer. The interval of the mean is about the average of "
            "many draws, for other rows and other draws: it says nothing about the one split that you have."
        )
        if told:
            lines.append(
                f"Episodes are what papers print: {told.num_episodes} of {told.way} classes drawn, "
                f"{told.asked} rows of each asked, mean ± 95 % of that mean."
            )
        lines += [one.words for one in self.setfit]
        if self.setfit:
            lines.append(
                "SetFit trains the encoder anew in each draw, by the settings of its package. The head "
                "beside it is the best of its size on the rows that are asked, which favours it a little; "
                "the test is for other draws of these rows, and few draws find large differences only."
            )
        return lines


def _episodes(found: Episodes | None) -> str:
    return "-" if found is None else f"{number(found.mean)} ± {number(found.error)}"
