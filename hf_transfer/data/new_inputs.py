"""Read new inputs for a model as training reads its rows: given in words, in files, in folders."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.data_files import SUFFIXES, read_file
from hf_transfer.data.input_folder import inputs_below
from hf_transfer.data.text_files import read_text, text_lines
from hf_transfer.errors import DataError
from hf_transfer.machine.wording import count
from hf_transfer.tasks.inputs.input import Input

STANDARD_INPUT = "-"
SLICE = "slice"  # column of the number of a row in its file, where a file held several


@dataclass(frozen=True)
class NewInputs:
    """Inputs without labels, in the order in which they were given.

    Attributes:
        names: What to call each: the text itself, or where a picture or a sound is.
        values: Each as a task encodes it.
        tables: The columns of each file; or one of texts or paths, for those that came without a file.
        volumes: Positions of the slices of each file that held several.
    """

    names: list[str]
    values: list[Any]
    tables: list[pa.Table]
    volumes: list[list[int]] = field(default_factory=list)

    @property
    def with_volumes(self) -> "NewInputs":
        """The same, and at the end each volume by the name of its file, with its first slice as its value."""
        if not self.volumes:
            return self
        firsts = [slices[0] for slices in self.volumes]
        sizes = [count(len(slices), "slice") for slices in self.volumes]
        rows = self.rows.take(firsts)
        whole = pa.nulls(len(firsts), pa.int64())
        return NewInputs(
            [
                *self.names,
                *(f"{self._file(i)}, mean of {size}" for i, size in zip(firsts, sizes, strict=True)),
            ],
            [*self.values, *(self.values[i] for i in firsts)],
            [self.rows, rows.set_column(rows.column_names.index(SLICE), SLICE, whole)],
        )

    def _file(self, position: int) -> str:
        return self.names[position].rpartition("#")[0]

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


def read_new_inputs(
    given: Sequence[str], input: Input, column: str, config: RunConfig | None = None
) -> NewInputs:
    """Read the inputs to label.

    Args:
        given: Pictures or sounds, folders of them, or texts themselves; files of any of them: .txt with a
            text a line, or a format that training reads; or `-` for lines of standard input.
        input: What the model takes.
        column: Where the inputs are in a file of rows.
        config: How files are read; the defaults where it is not given.

    Raises:
        DataError: If there is nothing, or something is not usable.
    """
    config = config or RunConfig()
    runs = [(is_text, list(words)) for is_text, words in groupby(given, lambda word: _is_text(word, input))]
    parts = [
        part
        for is_text, words in runs
        for part in (
            [_listed(input.from_words(words), input)]
            if is_text
            else [part for word in words for part in _parts(word, input, column, config)]
        )
    ]
    names, values = [name for p in parts for name in p.names], [value for p in parts for value in p.values]
    starts = accumulate((len(p.names) for p in parts), initial=0)
    volumes = [[start + i for i in v] for start, p in zip(starts, parts, strict=False) for v in p.volumes]
    if not values:
        raise DataError(f"No {input.nouns if input.suffixes else 'texts'} in {', '.join(given)}.")
    if bad := input.unreadable(Dataset.from_dict({"input": values})):
        first = f"{names[bad[0].position]}: {bad[0].reason}"
        raise DataError(f"{count(len(bad), input.noun)} cannot be read. The first: {first}.")
    if empty := input.empty_rows(Dataset.from_dict({"input": values})):
        raise DataError(
            f"{count(len(empty), 'row')} {input.empty}, the first of them row {empty[0]} (counted from 0). "
            f"{input.needs} Fill such rows in, or leave them out."
        )
    return NewInputs(names, values, [table for part in parts for table in part.tables], volumes)


def _is_text(word: str, input: Input) -> bool:
    """Whether a word of the command is an input that is written out."""
    ends = (*SUFFIXES, ".txt")
    return not input.suffixes and word != STANDARD_INPUT and Path(word).suffix.lower() not in ends


def _parts(word: str, input: Input, column: str, config: RunConfig) -> list[NewInputs]:
    """What one word of the command stands for."""
    path = Path(word)
    if word == STANDARD_INPUT:
        lines = text_lines(_standard_input())
        if input.suffixes:
            return [part for line in lines for part in _parts(line, input, column, config)]
        return [_listed(lines, input)]
    if path.suffix.lower() in SUFFIXES and (path.is_file() or not input.suffixes):
        return [_in_file(path, input, column, config)]
    if input.suffixes and not word:
        raise DataError(f"An empty word names no {input.noun}. Give paths of {input.nouns}, or of folders.")
    if input.suffixes:
        return [_on_disk(path, input, config)]
    if not path.is_file():
        raise DataError(f"No such file: {path.absolute()}.")
    return [_listed(text_lines(read_text(path)), input)]


def _listed(texts: list[str], input: Input) -> NewInputs:
    return NewInputs(texts, [input.from_text(text) for text in texts], [_one_column("text", texts)])


def _on_disk(path: Path, input: Input, config: RunConfig) -> NewInputs:
    if not path.exists():
        raise DataError(
            f"No such {input.noun} or folder: {path.absolute()}. Give paths of {input.nouns}, or of folders "
            "or files of them."
        )
    paths = [str(one) for one in (inputs_below(path, input) if path.is_dir() else [path])]
    if not paths:
        return NewInputs([], [], [])
    given = NewInputs(paths, [], [_one_column("file", paths)])
    return _opened(given, Dataset.from_dict({"input": paths}), "input", input, config)


def _opened(
    given: NewInputs, rows: Dataset, column: str, input: Input, config: RunConfig, folder: Path | None = None
) -> NewInputs:
    """The inputs of a column of rows, of files of which one may hold several, by their names and tables."""
    alone = RunConfig(window=config.window)  # columns of the run's rows are not here
    opened = input.opened(rows, column, folder=folder, outside=False, config=alone)
    values = input.read_new(opened.rows, column, folder=folder)
    if opened.sources is None:
        return replace(given, values=values)
    places = list(zip(opened.sources, opened.numbers, strict=True))
    volumes: dict[int, list[int]] = {}
    for position, (source, number) in enumerate(places):
        if number is not None:
            volumes.setdefault(source, []).append(position)
    names = [given.names[source] + ("" if number is None else f"#{number}") for source, number in places]
    table = given.tables[0].take(list(opened.sources))
    if volumes:
        table = table.append_column(SLICE, pa.array(opened.numbers, pa.int64()))
    return NewInputs(names, values, [table], list(volumes.values()))


def _in_file(path: Path, input: Input, column: str, config: RunConfig) -> NewInputs:
    """The rows of a file, with the model's input column."""
    rows, _ = read_file(path)
    for name in input.columns_of(column):
        if name not in rows.column_names:
            there_are = ", ".join(map(repr, rows.column_names))
            raise DataError(f"No column {name!r} in {path.name}; it has {there_are}. Rename one.")
    folder = Path(os.path.abspath(path)).parent  # noqa: PTH100  (resolve() would follow links)
    table = rows.with_format("arrow")[:]
    values = input.read_new(rows, column, folder=folder)
    if not input.suffixes:
        return NewInputs(input.names(rows, column), values, [table])
    names = [(value or {}).get("path") or f"{path}, row {n}" for n, value in enumerate(values)]
    return _opened(NewInputs(names, [], [table]), rows, column, input, config, folder)


def _one_column(name: str, values: list[str]) -> pa.Table:
    return pa.table({name: pa.array(values, pa.string())})


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"Standard input is not UTF-8: {error}. Convert it to UTF-8.") from error
