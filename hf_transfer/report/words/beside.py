"""What other verbs found about a run's rows, as sections of its card and its report."""

from dataclasses import dataclass, replace

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.secrets import local_name
from hf_transfer.report.words.adapt import adapt_about, adapt_rows, adapt_verdict
from hf_transfer.report.words.shift import distance_words, label_rows, said_of, shares_words
from hf_transfer.runs.adapt_record import AdaptRecord
from hf_transfer.runs.combine_record import CombineRecord
from hf_transfer.runs.companions import Companions
from hf_transfer.runs.shift_record import ShiftRecord
from hf_transfer.runs.shots_record import ShotsRecord

Table = list[list[str]]


@dataclass(frozen=True)
class Section:
    """A part of a card or a report.

    Attributes:
        name: Of its marks in a card.
        title: Above it.
        words: A paragraph each.
        tables: With the names of their columns first.
        picture: The name of a picture in `plots/`, and what it shows; None for none.
    """

    name: str
    title: str
    words: list[str]
    tables: list[Table]
    picture: tuple[str, str] | None = None


def sections_beside(found: Companions) -> list[Section]:
    """The sections about what lies beside results.json.

    Args:
        found: What lies there.
    """
    return [
        *([_combined(found.combine)] if found.combine else []),
        *([_few_rows(found.shots)] if found.shots else []),
        *([_shift(found.shift)] if found.shift else []),
        *([_adapted(found.adapt)] if found.adapt else []),
    ]


def _combined(record: CombineRecord) -> Section:
    about = (
        f"hf-transfer combine judged {len(record.members)} base models on their frozen features under the "
        f"same folds; combine.json has all figures. {record.verdict}"
    )
    return Section("combine", "Beside other base models", [about], [record.member_rows, record.rows])


def _few_rows(record: ShotsRecord) -> Section:
    record = replace(record, dataset=replace(record.dataset, name=local_name(record.dataset.name)))
    picture = ("shots", "Score against labelled rows a class: of the mean of many draws, and of one draw")
    words = [f"By hf-transfer shots; shots.json has all figures. {record.about}", " ".join(record.said)]
    return Section("shots", "A few labelled rows a class", words, [record.rows], picture)


def _shift(record: ShiftRecord) -> Section:
    source, target = (
        replace(one, title=local_name(one.title)) for one in (record.source_data, record.target_data)
    )
    record = replace(record, source_data=source, target_data=target)
    sizes = " and ".join(f"{one.num_rows:,} rows of {one.title}" for one in (source, target))
    about = f"hf-transfer shift compared {sizes} by frozen features of {local_name(record.base_model)}."
    words = [about, said_of(record), f"{distance_words(record)} {shares_words(record)}".strip()]
    names = ["labels that a linear head gives", source.title, target.title]
    tables = [[names, *label_rows(record)]] if record.given_labels else []
    picture = ("clouds", "Rows of both data sets on the two axes along which the first one varies most")
    return Section("shift", "Beside other data", words, tables, picture)


def _adapted(record: AdaptRecord) -> Section:
    source, target = (replace(one, name=local_name(one.name)) for one in (record.source, record.target))
    record = replace(record, source=source, target=target)
    about = f"By hf-transfer adapt; adapt.json has all figures. {'. '.join(adapt_about(record))}."
    picture = (
        "adapt",
        "Each head's accuracy on labelled rows of the other domain, or what it answers otherwise",
    )
    verdict = adapt_verdict(record)
    words = [about, f"{verdict.question} {verdict.answer.capitalize()}. {verdict.words}"]
    return Section("adapt", "Adapted to another domain", words, [adapt_rows(record)], picture)
