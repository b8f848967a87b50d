"""Number the tags of words, in IOB2: B-X begins an entity, I-X continues it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import DataError
from hf_transfer.machine.wording import count
from hf_transfer.tasks.targets.labels import (
    LabelColumn,
    NamedLabels,
    absence_notes,
    declared_names,
    refuse_lookalikes,
    refuse_rows,
)
from hf_transfer.tasks.targets.schemes import OUTSIDE, to_iob2
from hf_transfer.tasks.written_lists import written_list


def name_tags(columns: Sequence[LabelColumn]) -> NamedLabels:
    """Bring all tags to IOB2, then fix their names: 'O', then 'B-X', 'I-X' for each type X in order.

    A column has a list of tags a row, or one written as a text, and as its inputs the words that they
    belong to. Names that a `ClassLabel` declares keep their ids, if they are IOB2; a missing partner of B-X
    or I-X is added at the end.

    Raises:
        DataError: If words and tags differ in number, tags are of no scheme or of two, numbers come without
            names, or nothing is tagged at all.
    """
    converted = to_iob2(
        [_as_words(column) for column in columns],
        [column.where for column in columns],
        declared_names(columns),
    )
    tags, names = converted.parts, converted.names
    used = {tag for part in tags for row in part for tag in row}
    if not used.difference({OUTSIDE}):
        raise DataError(f"Every tag in {columns[0].where} is 'O': there is no entity to learn.")
    if names is None:
        names = (OUTSIDE, *(tag for kind in sorted(types_of(list(used))) for tag in _pair(kind)))
        refuse_lookalikes(names, columns[0].where)
    names = _complete(names)
    ids = {name: i for i, name in enumerate(names)}
    counts = [Counter(kind for row in part for kind in entity_types(row)) for part in tags]
    notes = absence_notes(types_of(names), counts)
    numbers = tuple([[ids[tag] for tag in row] for row in part] for part in tags)
    return NamedLabels(names, numbers, (*converted.notes, *notes), converted.scheme)


def entity_types(tags: Sequence[str]) -> Iterator[str]:
    """Yield the type of each entity in a row of IOB2 tags."""
    return (tag[2:] for tag in tags if tag.startswith("B-"))


def types_of(names: Sequence[str]) -> list[str]:
    """Give the entity types of IOB2 names, each once, in their order."""
    return list(dict.fromkeys(name[2:] for name in names if name != OUTSIDE))


def _as_words(column: LabelColumn) -> list[list[str]]:
    column = replace(column, values=[_listed(tags) for tags in column.values])
    _refuse_lengths(column)
    flat = [tag for row in column.values for tag in row]
    if column.declared is not None:
        _refuse_ids(column, len(column.declared))
        return [[column.declared[tag] for tag in row] for row in column.values]
    if any(isinstance(tag, int) for tag in flat):
        raise DataError(
            f"Tags in {column.where} are numbers without names, so which of them opens an entity is not "
            "known. Write tags as 'O', 'B-PER', 'I-PER', …, or store them as a list of ClassLabel."
        )
    if not all(isinstance(tag, str) for tag in flat):
        wrong = next(tag for tag in flat if not isinstance(tag, str))
        raise DataError(f"A tag in {column.where} is {wrong!r}; a word such as 'O' or 'B-PER' is expected.")
    return [list(row) for row in column.values]


def _listed(tags: Any) -> Any:
    return (written_list(tags) or tags) if isinstance(tags, str) else tags


def _refuse_lengths(column: LabelColumn) -> None:
    not_lists = [row for row, tags in enumerate(column.values) if not isinstance(tags, (list, tuple))]
    refuse_rows(not_lists, f"without a list of tags in {column.where}", "Give one tag for each word.")
    pairs = list(zip(column.inputs[:], column.values, strict=True))
    wrong = [row for row, (words, tags) in enumerate(pairs) if len(words) != len(tags)]
    if wrong:
        words, tags = pairs[wrong[0]]
        raise DataError(
            f"Row {wrong[0]} has {count(len(words), 'word')} but {count(len(tags), 'tag')} in "
            f"{column.where}, and {count(len(wrong), 'row')} in all differ so. Give one tag for each word."
        )


def _refuse_ids(column: LabelColumn, num_names: int) -> None:
    wrong = [
        row
        for row, tags in enumerate(column.values)
        if not all(isinstance(tag, int) and 0 <= tag < num_names for tag in tags)
    ]
    refuse_rows(wrong, f"with a tag id outside 0 to {num_names - 1} in {column.where}", "Tag every word.")


def _complete(names: tuple[str, ...]) -> tuple[str, ...]:
    """Add missing partners at the end: a model that has B-X alone could never go on with an entity."""
    return (*names, *(tag for kind in types_of(names) for tag in _pair(kind) if tag not in names))


def _pair(kind: str) -> tuple[str, str]:
    return f"B-{kind}", f"I-{kind}"
