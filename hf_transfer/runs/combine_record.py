"""What combine.json holds: several base models, their combinations, and what was gained. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError
from hf_transfer.machine.wording import aligned, interval, number, paragraphs_html, table_html, visible
from hf_transfer.runs.rank_record import Against, ProbeScore, RankedData, RankedFolds
from hf_transfer.runs.reading import AGAIN, read_record
from hf_transfer.runs.schema import FORMAT_VERSION

COMBINE_FILE = "combine.json"


def member_run(place: int) -> str:
    """The folder of a member's run, inside that of several that answer together."""
    return f"members/{place}"


@dataclass(frozen=True)
class Joined:
    """A model that answers together with others: its run, its base model as it was given, and its weight."""

    run: Path
    base_model: str
    weight: float


def joined_members(folder: Path) -> list[Joined]:
    """The models that answer together, heaviest first; none if one does alone.

    Raises:
        ConfigError: If combine.json is there and not readable, or has other weights than members.
    """
    if (folder / "results.json").is_file() or not (folder / COMBINE_FILE).is_file():
        return []
    record = read_record(CombineRecord, folder / COMBINE_FILE)
    if len(record.final_weights) != len(record.members):
        raise ConfigError(
            f"{folder / COMBINE_FILE} has {len(record.final_weights)} weights of {len(record.members)} "
            f"members. {AGAIN}"
        )
    pairs = enumerate(zip(record.members, record.final_weights, strict=True))
    found = [
        Joined(folder / member_run(i), one.base_model, weight) for i, (one, weight) in pairs if weight > 0
    ]
    return sorted(found, key=lambda one: -one.weight) if len(found) > 1 else []


@dataclass(frozen=True, kw_only=True)
class Member:
    """A base model with a head of its own.

    Attributes:
        name: As it is shown.
        base_model: As it was given.
        score: Alone.
        temperature: What its logits are divided by, the mean over folds.
        weight: In what was asked for (in `pick` where that is `concat`), the mean over folds.
    """

    name: str
    base_model: str
    score: ProbeScore
    temperature: float
    weight: float


@dataclass(frozen=True, kw_only=True)
class Combination:
    """A way to combine the members.

    Attributes:
        way: pick, mean, greedy, nnls or concat.
        score: Under the folds; weights are those of inner folds.
        gain: Against `pick`; None for that itself.
        claimed: What training rows say of it.
        claimed_gets: What the same gets on held-out rows.
        weights: Of the members, the mean over folds; empty for one head on all features.
    """

    way: str
    score: ProbeScore
    gain: Against | None
    claimed: float
    claimed_gets: float
    weights: list[float]


@dataclass(frozen=True, kw_only=True, repr=False)
class CombineRecord:
    """The whole of combine.json.

    Attributes:
        dataset: The rows.
        folds: How they were split.
        measure: The score.
        way: What was asked for.
        members: In the order given.
        combinations: `pick` first.
        published: The member whose model is the one to publish, or the combination that is better.
        final_weights: Of the members in what is published.
        notes: What was left out or found.
        versions: Of libraries.
        seconds: Of all.
    """

    format_version: int = FORMAT_VERSION
    kit_version: str
    dataset: RankedData
    folds: RankedFolds
    measure: str
    way: str
    members: list[Member]
    combinations: list[Combination]
    published: str
    final_weights: list[float]
    notes: list[str]
    versions: Mapping[str, str]
    seconds: float

    @property
    def joined(self) -> bool:
        """Whether several members are to be published together."""
        return sum(weight > 0 for weight in self.final_weights) > 1

    @property
    def asked(self) -> Combination:
        """The combination that was asked for."""
        return next(one for one in self.combinations if one.way == self.way)

    @property
    def gains(self) -> list[Combination]:
        """The combinations that are better than the best member alone."""
        return [one for one in self.combinations if one.gain and one.gain.verdict == "better"]

    @property
    def verdict(self) -> str:
        """What came of it, in a sentence or two."""
        better = [one for one in self.gains if self.way in (one.way, "pick")]
        if better:
            said = f"Gain: {_gain(better[0])}."
        else:
            others = [one for one in self.combinations if one.gain and self.way in (one.way, "pick")]
            said = f"No gain over the best model alone: {'; '.join(_gain(one) for one in others)}."
        claims = self.asked if self.asked.gain else self.combinations[-1]
        return (
            f"{said} Fitted and judged on training rows, {claims.way} would have claimed "
            f"{number(claims.claimed)}, and gets {number(claims.claimed_gets)}. To publish: {self.published}."
        )

    def to_text(self) -> str:
        """Two tables and the verdict."""
        notes = "\n".join([self.verdict, *(f"Note: {note}" for note in self.notes)])
        return visible("\n\n".join([self._about, aligned(self.member_rows), aligned(self.rows), notes]))

    def __repr__(self) -> str:
        return f"CombineRecord({self.dataset.name} by {self.measure}: {self.verdict})"

    def _repr_html_(self) -> str:
        """What `to_text` says, for a notebook."""
        tables = table_html(self.member_rows) + table_html(self.rows)
        return paragraphs_html([self._about]) + tables + paragraphs_html([self.verdict])

    @property
    def _about(self) -> str:
        folds = f"{self.folds.num_repeats} x {self.folds.num_folds} {self.folds.scheme} folds"
        return f"{self.dataset.name}: {self.dataset.num_scored:,} rows, {folds}, {self.measure}."

    @property
    def member_rows(self) -> list[list[str]]:
        """A table of the members."""
        way = self.way if self.asked.weights else "pick"  # one head on all features weighs no model
        rows = [["model", "alone", "95 %", "temperature", f"weight in {way}"]]
        for one in self.members:
            cells = [one.name, number(one.score.mean), interval(one.score.interval)]
            rows.append([*cells, number(one.temperature, 2), number(one.weight, 2)])
        return rows

    @property
    def rows(self) -> list[list[str]]:
        """A table of the combinations."""
        rows = [["together", "score", "95 %", "gain over pick", "95 %", "claimed by training rows", "gets"]]
        for one in self.combinations:
            gain = one.gain
            shown = ["-", ""] if gain is None else [f"{gain.difference:+z.3f}", interval(gain.interval)]
            claims = [number(one.claimed), number(one.claimed_gets)]
            rows.append([one.way, number(one.score.mean), interval(one.score.interval), *shown, *claims])
        return rows


def _gain(one: Combination) -> str:
    assert one.gain is not None
    return f"{one.way} {one.gain.difference:+z.3f} ({interval(one.gain.interval)})"
