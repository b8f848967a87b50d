"""Bring the exports of annotation tools into plain rows: a text and its spans (start, end and label)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.machine.wording import count, some

Row = dict[str, Any]

_ANSWERS = {"accept", "reject", "ignore"}  # Prodigy's


def as_row(value: Any) -> Any:
    """A row itself, or one of spaCy's pairs of a text and its entities."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
        text, marks = value
        if isinstance(marks, dict) and isinstance(marks.get("entities"), list):
            return {"text": text, **marks}
    return value


def plain_rows(rows: Sequence[Row], name: str) -> tuple[list[Row], tuple[str, ...]]:
    """Read the exports of Label Studio, Prodigy and doccano; other rows stay as they are.

    Rows that nobody has annotated, or that were rejected, are left out.

    Args:
        rows: As they are in the file.
        name: Of the file.

    Returns:
        The rows, and what was left out, a sentence each.
    """
    notes: tuple[str, ...] = ()
    if all(_is_label_studio(row) for row in rows):
        rows, notes = _label_studio(rows, name)
    elif any("spans" in row for row in rows) and all(row.get("answer") in _ANSWERS for row in rows):
        rows, notes = _accepted(rows, name)
    columns = {column for row in rows for column in row}
    triples = [column for column in sorted(columns) if _holds_triples([row.get(column) for row in rows])]
    for column in triples:
        rows = [row | {column: _named(row.get(column))} for row in rows]
    return list(rows), notes


def _is_label_studio(row: Row) -> bool:
    return isinstance(row.get("data"), dict) and isinstance(row.get("annotations"), list)


def _label_studio(rows: Sequence[Row], name: str) -> tuple[list[Row], tuple[str, ...]]:
    """The data of each task, with its first annotation that was not cancelled."""
    found, skipped, several = [], [], 0
    spans: set[str] = set()
    for number, task in enumerate(rows):
        annotations = [one for one in task["annotations"] if isinstance(one, dict) and not _cancelled(one)]
        if not annotations:
            skipped.append(task.get("id", number))
            continue
        several += len(annotations) > 1
        results = annotations[0]["result"]
        row = {"id": task.get("id", number), **task["data"]}
        for result in results if isinstance(results, list) else []:
            _add_result(row, result, spans)
        found.append(row)
    notes = []
    if skipped:
        notes.append(
            f"{count(len(skipped), 'task')} of {name} without an annotation left out: "
            f"{some(skipped, noun='task')}."
        )
    if several:
        notes.append(f"Of {count(several, 'task')} of {name} with several annotations, the first is taken.")
    return [{column: [] for column in sorted(spans)} | row for row in found], tuple(notes)


def _cancelled(annotation: Row) -> bool:
    return bool(annotation.get("was_cancelled")) or "result" not in annotation


def _add_result(row: Row, result: Any, spans: set[str]) -> None:
    """Add a marked region, or a choice, under the name of what it was marked with."""
    value = result.get("value") if isinstance(result, dict) else None
    if not isinstance(value, dict):
        return
    column, labels = str(result.get("from_name", "label")), value.get(str(result.get("type")))
    place = value.get("globalOffsets", value)  # of a text in HTML
    if isinstance(labels, list) and isinstance(place, dict) and "start" in place and "end" in place:
        spans.add(column)
        span = {"start": place["start"], "end": place["end"], "text": value.get("text")}
        row[column] = [*row.get(column, []), *(span | {"label": label} for label in labels)]
    elif isinstance(labels, list) and result.get("type") == "choices":
        row[column] = labels[0] if len(labels) == 1 else labels


def _accepted(rows: Sequence[Row], name: str) -> tuple[list[Row], tuple[str, ...]]:
    found: list[Row] = [{"spans": []} | row for row in rows if row["answer"] == "accept"]
    left_out = [number for number, row in enumerate(rows) if row["answer"] != "accept"]
    if not left_out:
        return found, ()
    answers = Counter(rows[number]["answer"] for number in left_out)
    said = ", ".join(f"{answer} {times}" for answer, times in sorted(answers.items()))
    many = count(len(left_out), "row")
    return found, (f"{many} of {name} that were not accepted ({said}) left out: {some(left_out)}.",)


def _holds_triples(values: Sequence[Any]) -> bool:
    """Whether a column has lists of spans as doccano writes them: start, end, label."""
    given = [value for value in values if value is not None]
    return any(given) and all(isinstance(value, list) and all(map(_is_triple, value)) for value in given)


def _is_triple(span: Any) -> bool:
    if not isinstance(span, list) or len(span) != 3:
        return False
    return type(span[0]) is type(span[1]) is int and isinstance(span[2], str)


def _named(spans: Sequence[Sequence[Any]] | None) -> list[Mapping[str, Any]] | None:
    return None if spans is None else [{"start": a, "end": b, "label": label} for a, b, label in spans]
