"""Read CoNLL files: a word a line with its tag, and a blank line between sentences."""

import re
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.data.conll_layouts import known_layout
from hf_transfer.data.text_files import END_OF_FILE, read_text
from hf_transfer.errors import DataError
from hf_transfer.machine.wording import count
from hf_transfer.tasks.targets.schemes import OUTSIDE

SUFFIXES = frozenset({
    ".bio", ".bioes", ".bilou", ".conll", ".conllu", ".gold_conll", ".iob", ".iob2", ".v4_gold_conll",
})  # fmt: skip

_DOCUMENT = "-DOCSTART-"
_TAG = re.compile(r"O|[BIESLUM](-\S+)?")
_TYPED = re.compile(r"[BIESLUM]-\S+")
_BLANK = f" \t\r\n{END_OF_FILE}"
_SPACES = re.compile(r"[ \t]+")
_LOOKED_AT = 200  # lines by which such a file is known under another name
_OF_2003 = ("tokens", "pos_tags", "chunk_tags", "ner_tags")


class _Line(NamedTuple):
    number: int
    values: list[str]


def is_conll(path: Path) -> bool:
    """Whether a file has a word and a tag a line, whatever its name ends in.

    Its first lines must all have as many values, the last or the first of them a tag: O or such as B-PER.
    """
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with path.open(encoding="utf-8-sig") as stream:
            lines = list(islice(stream, _LOOKED_AT))
    except (OSError, ValueError):  # the latter where it is no text
        return False
    tabs = any("\t" in line for line in lines)
    lines = [line for line in lines if line.strip(_BLANK) and not line.startswith(_DOCUMENT)]
    values = [_values(line, tabs=tabs) for line in lines]
    values = [row for row in values if not row[0].startswith("#") or _TAG.fullmatch(row[-1])]
    if len(values) < 2 or len({len(row) for row in values}) > 1 or len(values[0]) < 2:
        return False
    typed = any(_TYPED.fullmatch(value) for row in values for value in row)
    last = {row[-1] for row in values}
    if _are_tags(values, -1) and OUTSIDE in last:
        return typed or len(last) > 1
    return typed and _are_tags(values, 0) and any(row[0] == OUTSIDE for row in values)


def read_conll(path: Path) -> tuple[pa.Table, tuple[str, ...]]:
    """Read sentences: `tokens`, `ner_tags`, and each further column of the file as a column of lists.

    The tags are the last column, or the first where only that has tags. Four columns are those of
    CoNLL-2003. Where words are counted from 1 in a first column, the second has the words. Lines of
    comments are passed over; -DOCSTART- opens a document, whose number is in the column `document`. Files
    of CoNLL-U and CoNLL-2012 are read as those layouts say.

    Returns:
        The rows, and what to know of how they were read.

    Raises:
        DataError: If a line has more or fewer values than those before it, with its number.
    """
    read_layout = known_layout(path)
    if read_layout:
        return read_layout(path)
    sentences, documents = _sentences(path)
    width = len(sentences[0][0].values) if sentences else 2
    for line in (line for sentence in sentences for line in sentence):
        if len(line.values) != width or width < 2:
            raise DataError(
                f"{path.name}, line {line.number} has {count(len(line.values), 'value')} "
                f"({' '.join(line.values)!r:.60}), where a word and its tag are expected"
                f"{f', {width} values as in the lines before' if width > 2 else ''}. Give each word its tag, "
                "and set a blank line between sentences."
            )
    names = _names([line.values for sentence in sentences for line in sentence], width)
    columns: dict[str, pa.Array] = {
        name: pa.array([[line.values[at] for line in sentence] for sentence in sentences])
        for at, name in enumerate(names)
    }
    notes = [f"{path.name} is read as CoNLL: {count(len(sentences), 'sentence')}, with {_listed(names)}."]
    if documents and documents[-1] > 1:
        columns["document"] = pa.array([str(number) for number in documents])
        notes.append(
            f"{path.name} has {count(len(set(documents)), 'document')}; --group_by document keeps the "
            "sentences of each in one fold."
        )
    return pa.table(columns), tuple(notes)


def _sentences(path: Path) -> tuple[list[list[_Line]], list[int]]:
    """The lines of each sentence, and the number of its document."""
    lines = read_text(path).split("\n")  # not splitlines(): words may hold the other line ends of Unicode
    tabs = any("\t" in line for line in lines)
    widths = Counter(len(_values(line, tabs=tabs)) for line in lines if line.strip())
    width = widths.most_common(1)[0][0] if widths else 0
    sentences: list[list[_Line]] = []
    documents: list[int] = []
    document, inside = 0, False
    for number, line in enumerate(lines, 1):
        values = _values(line, tabs=tabs)
        if line.startswith(_DOCUMENT):
            document, inside = document + 1, False
        elif not line.strip(_BLANK):
            inside = False
        elif inside or not _is_comment(line, values, width):
            if not inside:
                sentences.append([])
                documents.append(document)
            inside = True
            sentences[-1].append(_Line(number, values))
    return sentences, documents


def _values(line: str, *, tabs: bool) -> list[str]:
    return line.rstrip("\r\n").split("\t") if tabs else _SPACES.split(line.strip(" \r\n"))


def _is_comment(line: str, values: list[str], width: int) -> bool:
    """Whether a line before a sentence is no word: `# id 12`, but not the word `#` with a tag."""
    return line.startswith("#") and (len(values) != width or not _TAG.fullmatch(values[-1]))


def _are_tags(rows: list[list[str]], column: int) -> bool:
    return all(_TAG.fullmatch(row[column]) for row in rows)


def _names(rows: list[list[str]], width: int) -> list[str]:
    """The name of each column."""
    tags = 0 if not _are_tags(rows, -1) and _are_tags(rows, 0) else width - 1
    words = next(at for at in range(width) if at != tags)
    counted = width > 2 and all(row[words].isdigit() for row in rows)
    words += counted and words + 1 < width
    if width == 4 and not counted and tags == 3:
        return list(_OF_2003)
    return [{tags: "ner_tags", words: "tokens"}.get(at, f"column_{at + 1}") for at in range(width)]


def _listed(names: list[str]) -> str:
    return ", ".join(f"{name!r} from column {at}" for at, name in enumerate(names, 1))
