"""Join rows of one word each into sentences, as the CSV of Kaggle's entity corpus and its kin have them."""

import re
from collections.abc import Sequence

import pyarrow as pa

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.machine.wording import count

_NUMBER = re.compile(r"(sentence|sent)[ _]*(#|id|no|nr|num|number|idx|index)?")
_WORD = ("word", "token")
_TAG = ("tag", "ner_tag", "ner", "entity", "iob", "label")
_TAGS = re.compile(r"O|[BIESLUM]-\S+")


def joined_sentences(table: pa.Table, name: str) -> tuple[pa.Table, tuple[str, ...]]:
    """Sentences of a table that has a word and its tag in each row; another table as it is.

    A row belongs to the sentence of the row before it if its number is the same, or is left out.

    Args:
        table: Of texts.
        name: Of the file.

    Returns:
        The rows, with `tokens` and `ner_tags` as lists; and what was done, a sentence each.
    """
    names = {column.lower().strip(): column for column in table.column_names}
    number = next((names[found] for found in names if _NUMBER.fullmatch(found)), None)
    word, tag = (next((names[found] for found in usual if found in names), None) for usual in (_WORD, _TAG))
    if number is None or word is None or tag is None or not _are_tags(table[tag].to_pylist()):
        return table, ()
    numbers = [(value or "").strip() for value in table[number].to_pylist()]
    starts = [at for at, value in enumerate(numbers) if at == 0 or (value and value != _before(numbers, at))]
    if len(starts) == len(numbers):  # sentences of one word each are texts
        return table, ()
    ends = [*starts[1:], len(numbers)]
    renamed = {word: "tokens", tag: "ner_tags"}
    columns = {
        renamed.get(column, column): _parts(table[column].to_pylist(), starts, ends)
        for column in table.column_names
        if column != number
    }
    note = (
        f"{name} has a word a row: {count(len(numbers), 'word')} were joined into "
        f"{count(len(starts), 'sentence')} by column {number!r}, with 'tokens' from {word!r} and "
        f"'ner_tags' from {tag!r}."
    )
    return pa.table({number: [numbers[at] for at in starts]} | columns), (note,)


def _before(numbers: Sequence[str], at: int) -> str:
    """The number of the sentence that the rows before belong to."""
    return next((numbers[i] for i in range(at - 1, -1, -1) if numbers[i]), "")


def _parts(values: list[str], starts: Sequence[int], ends: Sequence[int]) -> list[list[str]]:
    return [values[start:end] for start, end in zip(starts, ends, strict=True)]


def _are_tags(values: Sequence[str | None]) -> bool:
    """Whether they are O and such as B-PER, with at least one of the latter."""
    return all(_TAGS.fullmatch(value or "") for value in values) and any(value != "O" for value in values)
