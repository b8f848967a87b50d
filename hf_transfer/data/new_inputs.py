"""Read new inputs for a model as training reads its rows: given in words, in files, in folders."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset

from hf_transfer import _guard  # noqa: F401
from hf_transfer.data.data_files import SUFFIXES, read_file
from hf_transfer.data.image_folder import pictures_below
from hf_transfer.data.text_files import read_text
from hf_transfer.errors import DataError
from hf_transfer.machine.wording import count
from hf_transfer.tasks.inputs.input import Input

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class NewInputs:
    """Inputs without labels, in the order in which they were given.

    Attributes:
        names: What to call each: the text itself, or where a picture is.
        values: Each as a task encodes it.
        tables: The columns of each file; or one of texts or paths, for those that came without a file.
    """

    names: list[str]
    values: list[Any]
    tables: list[pa.Table]

    @property
    def rows(self) -> pa.Table:
        """What came with each input; a column that a file lacks is missing in its rows.

        Raises:
            DataError: If files have columns of the same name and of different types.
        """
        try:
            return pa.concat_tables(self.tables, promote_options="permissive")
        except pa.ArrowException as error:
            raise DataError(
                f"The files have columns of the same name but of different types: {error}. Give one at a "
                "time."
            ) from error


def read_new_inputs(given: Sequence[str], input: Input, column: str) -> NewInputs:
    """Read the inputs to label.

    Args:
        given: Pictures, folders of them, or texts themselves; files of any of them: .txt with a text a
            line, or a format that training reads; or `-` for lines of standard input.
        input: What the model takes.
        column: Where the inputs are in a file of rows.

    Raises:
        DataError: If there is nothing, or something is not usable.
    """
    runs = [(is_text, list(words)) for is_text, words in groupby(given, lambda word: _is_text(word, input))]
    parts = [
        part
        for is_text, words in runs
        for part in (
            [_listed(input.from_words(words), input)]
            if is_text
            else [part for word in words for part in _parts(word, input, column)]
        )
    ]
    names, values = [name for p in parts for name in p.names], [value for p in parts for value in p.values]
    if not values:
        raise DataError(f"No {input.nouns if input.suffixes else 'texts'} in {', '.join(given)}.")
    if bad := input.unreadable(Dataset.from_dict({"input": values})):
        first = f"{names[bad[0].position]}: {bad[0].reason}"
        raise DataError(f"{count(len(bad), input.noun)} cannot be read. The first: {first}.")
    return NewInputs(names, values, [table for part in parts for table in part.tables])


def _is_text(word: str, input: Input) -> bool:
    """Whether a word of the command is an input that is written out."""
    ends = (*SUFFIXES, ".txt")
    return not input.suffixes and word != STANDARD_INPUT and Path(word).suffix.lower() not in ends


def _parts(word: str, input: Input, column: str) -> list[NewInputs]:
    """What one word of the command stands for."""
    path = Path(word)
    if word == STANDARD_INPUT:
        lines = _lines(_standard_input())
        if input.suffixes:
            return [part for line in lines for part in _parts(line, input, column)]
        return [_listed(lines, input)]
    if path.suffix.lower() in SUFFIXES and (path.is_file() or not input.suffixes):
        return [_in_file(path, input, column)]
    if input.suffixes:
        return [_pictures(path, input)]
    if not path.is_file():
        raise DataError(f"No such file: {path.absolute()}.")
    return [_listed(_lines(read_text(path)), input)]


def _listed(texts: list[str], input: Input) -> NewInputs:
    return NewInputs(texts, [input.from_text(text) for text in texts], [_one_column("text", texts)])


def _pictures(path: Path, input: Input) -> NewInputs:
    if not path.exists():
        raise DataError(
            f"No such {input.noun} or folder: {path.absolute()}. Give paths of {input.nouns}, or of folders "
            "or files of them."
        )
    paths = [str(one) for one in (pictures_below(path) if path.is_dir() else [path])]
    return NewInputs(paths, [{"bytes": None, "path": one} for one in paths], [_one_column("file", paths)])


def _in_file(path: Path, input: Input, column: str) -> NewInputs:
    """The rows of a file, with the model's input column."""
    rows, _ = read_file(path)
    for name in input.columns_of(column):
        if name not in rows.column_names:
            there_are = ", ".join(map(repr, rows.column_names))
            raise DataError(f"No column {name!r} in {path.name}; it has {there_are}. Rename one.")
    folder = Path(os.path.abspath(path)).parent  # noqa: PTH100  (resolve() would follow links)
    values = input.read_new(rows, column, folder=folder)
    if input.suffixes:
        names = [(value or {}).get("path") or f"{path}, row {n}" for n, value in enumerate(values)]
    else:
        names = input.names(rows, column)
    return NewInputs(names, values, [rows.with_format("arrow")[:]])


def _one_column(name: str, values: list[str]) -> pa.Table:
    return pa.table({name: pa.array(values, pa.string())})


def _lines(text: str) -> list[str]:
    """Lines that are not blank; texts may hold the other line ends of Unicode."""
    return [line for line in (line.removesuffix("\r") for line in text.split("\n")) if line.strip()]


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"Standard input is not UTF-8: {error}. Convert it to UTF-8.") from error
