"""Read the two CoNLL layouts whose entities are no column of tags: CoNLL-U and CoNLL-2012 (OntoNotes)."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.data.text_files import read_text
from hf_transfer.errors import DataError
from hf_transfer.machine.wording import count
from hf_transfer.tasks.targets.schemes import OUTSIDE

Layout = Callable[[Path], tuple[pa.Table, tuple[str, ...]]]

_BEGIN = "#begin document"
_DOCUMENT = re.compile(r"#begin document\s*(.*?)\s*$")
_WORD_2012, _ENTITIES_2012, _FEWEST_2012 = 3, 10, 12  # of the columns of CoNLL-2012
_OPENS = re.compile(r"\(([^()*\s]+)")
_OF_U = ("id", "tokens", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
_KEPT_OF_U = ("tokens", "lemma", "upos", "xpos")
_ENTITY_OF_U = re.compile(r"(?:^|\|)(?:NER|Ner|ner|NE|ne)=([^|\s]+)")

_Line = tuple[int, list[str]]  # its number, and its values


def known_layout(path: Path) -> Layout | None:
    """What reads a file, if it is of CoNLL-U or CoNLL-2012."""
    if path.suffix.lower() == ".conllu":
        return _read_u
    with path.open("rb") as stream:
        return (
            _read_2012
            if stream.read(len(_BEGIN) + 3).lstrip(b"\xef\xbb\xbf").startswith(_BEGIN.encode())
            else None
        )


def _read_2012(path: Path) -> tuple[pa.Table, tuple[str, ...]]:
    """Words and IOB2 tags; brackets such as `(PERSON*` and `*)` say where an entity is."""
    words, tags, documents = [], [], []
    for document, sentence in _sentences(path, str.split):
        for number, values in sentence:
            if len(values) < _FEWEST_2012:
                raise DataError(
                    f"{path.name}, line {number} has {count(len(values), 'value')}, and a line of CoNLL-2012 "
                    f"has {_FEWEST_2012} or more. Give the whole line, or a file of words and tags."
                )
        words.append([values[_WORD_2012] for _, values in sentence])
        tags.append(list(_from_brackets([values[_ENTITIES_2012] for _, values in sentence])))
        documents.append(document)
    table = pa.table({"tokens": words, "ner_tags": tags, "document": documents})
    several = len(set(documents)) > 1
    note = (
        f"{path.name} is read as CoNLL-2012: {count(len(words), 'sentence')}, with 'tokens' from column "
        f"{_WORD_2012 + 1}, and 'ner_tags' from the brackets of column {_ENTITIES_2012 + 1}."
    )
    found = count(len(set(documents)), "document")
    more = f"{path.name} has {found}; --group_by document keeps the sentences of each in one fold."
    return table, (note, more) if several else (note,)


def _from_brackets(brackets: Sequence[str]) -> Iterator[str]:
    """IOB2 tags of brackets that open and close; of nested ones, which are rare, the outermost.

    Example:
        >>> list(_from_brackets(["(GPE)", "*", "(DATE*", "*)"]))
        ['B-GPE', 'O', 'B-DATE', 'I-DATE']
    """
    kind, depth = "", 0
    for bracket in brackets:
        opened = _OPENS.findall(bracket)
        if depth:
            yield f"I-{kind}"
        elif opened:
            kind = opened[0]
            yield f"B-{kind}"
        else:
            yield OUTSIDE
        depth = max(0, depth + len(opened) - bracket.count(")"))


def _read_u(path: Path) -> tuple[pa.Table, tuple[str, ...]]:
    """Words with lemma and part of speech, and tags that the last column has as `NER=B-PER`.

    Words that stand for several (1-2), and those that nobody wrote (1.1), are passed over.
    """
    columns: dict[str, list[list[str]]] = {name: [] for name in _KEPT_OF_U}
    tags: list[list[str]] = []
    for _, sentence in _sentences(path, lambda line: line.split("\t")):
        for number, values in sentence:
            if len(values) != len(_OF_U):
                raise DataError(
                    f"{path.name}, line {number} has {count(len(values), 'value')}, where a line of CoNLL-U "
                    f"has {len(_OF_U)}, parted by tabs. Give the whole line, or a file of words and tags."
                )
        rows = [dict(zip(_OF_U, values, strict=True)) for _, values in sentence if values[0].isdigit()]
        for name, column in columns.items():
            column.append([row[name] for row in rows])
        marks = [_ENTITY_OF_U.search(row["misc"]) for row in rows]
        tags.append([mark[1] if mark else OUTSIDE for mark in marks])
    if not any(tag != OUTSIDE for sentence in tags for tag in sentence):
        raise DataError(
            f"{path.name} is CoNLL-U without entities: its last column has none such as NER=B-PER. Parts of "
            "speech are not entities. Add them there, or give a file of words and tags."
        )
    many = count(len(tags), "sentence")
    note = (
        f"{path.name} is read as CoNLL-U: {many}, with 'tokens' from column 2 and 'ner_tags' from the last."
    )
    return pa.table(columns | {"ner_tags": tags}), (note,)


def _sentences(path: Path, split: Callable[[str], list[str]]) -> Iterator[tuple[str, list[_Line]]]:
    """The lines of each sentence, with the name of its document."""
    document, sentence = "", list[_Line]()
    for number, line in enumerate([*read_text(path).split("\n"), ""], 1):
        line = line.rstrip("\r")
        if begun := _DOCUMENT.match(line):
            document = begun[1]
        if line.strip() and not line.startswith("#"):
            sentence.append((number, split(line)))
        elif not line.strip() and sentence:
            yield document, sentence
            sentence = []
