"""Read CSV and TSV files; texts never become missing values, and a stray quote swallows no rows."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import pyarrow as pa

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.data.text_files import BYTE_ORDER_MARK, END_OF_FILE, refuse_names, refuse_other_than_utf8
from hf_transfer.errors import DataError
from hf_transfer.machine.wording import count

_DELIMITERS = ",;\t|"  # of several that would do the first is taken, as texts may hold the others
_SEPARATOR_LINE = "sep="  # Excel's first line, which names the delimiter
_ROWS_AT_ONCE = 1000
_TRIED = 100  # rows by which a delimiter is chosen


@dataclass(frozen=True)
class _Style:
    """How a file is written."""

    delimiter: str
    names: tuple[str, ...] = ()
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL  # or QUOTE_NONE


class _Record(NamedTuple):
    """One row, the lines that it was read from, and the number of the last of them."""

    values: list[str]
    lines: list[str]
    last: int

    def swallows(self, style: _Style) -> bool:
        """Whether a quote joins lines each of which would be a row."""
        if len(self.lines) < 2:
            return False
        alone = csv.reader(self.lines, delimiter=style.delimiter, quoting=csv.QUOTE_NONE)
        return all(len(row) == len(style.names) for row in alone)

    def place(self) -> str:
        """Its lines, in words."""
        first = self.last - len(self.lines) + 1
        return f"line {self.last}" if first == self.last else f"lines {first} to {self.last}"


class CsvFile:
    """A file whose first line names the columns; all are texts, as the file has no types.

    Quotes around a text are taken off. In files with tabs, where most texts are written without them, they
    are part of the texts if every line is a row so, and else is not.

    Args:
        path: Where it is.

    Raises:
        DataError: If it is not UTF-8, or its quotes are neither.
    """

    def __init__(self, path: Path) -> None:
        refuse_other_than_utf8(path)
        self._path = path
        self._style = _find_style(path)
        refuse_names(self._style.names, path)
        self._notes: list[str] = []
        if self._style.delimiter == "\t" and len(self._style.names) > 1:
            self._style = _without_quoting(path, self._style, self._notes)
        self._joined: list[str] = []
        self.schema = pa.schema([(name, pa.string()) for name in self._style.names])

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, some at a time.

        Raises:
            DataError: If a row has more or fewer values than the first line, with its line.
        """
        rows = _rows(self._path, self._style, self._joined)
        while some := list(islice(rows, _ROWS_AT_ONCE)):
            columns = [pa.array(values, pa.string()) for values in zip(*some, strict=True)]
            yield pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def notes(self) -> tuple[str, ...]:
        """What to know of how the rows were read; call it after all are."""
        if not self._joined:
            return tuple(self._notes)
        doubtful = (
            f"{count(len(self._joined), 'row')} of {self._path.name} may be several, as a quote joins lines "
            f"that would each be a row: {self._joined[0]}. Double the quotes that belong to texts."
        )
        return (*self._notes, doubtful)


def _find_style(path: Path) -> _Style:
    """Find the delimiter: one that the first rows have as often as the first line."""
    with path.open(encoding="utf-8", newline="") as stream:
        first = stream.readline().lstrip(BYTE_ORDER_MARK)
        if first.lower().startswith(_SEPARATOR_LINE) and len(first.rstrip("\r\n")) == 5:
            return _named(path, first[4])
    if path.suffix.lower() == ".tsv":
        return _named(path, "\t")
    there = [delimiter for delimiter in _DELIMITERS if delimiter in first]
    fitting = [style for delimiter in there if (style := _fitting(path, delimiter))]
    if fitting:
        return min(fitting, key=lambda style: sum(name != name.strip() for name in style.names))
    return _named(path, there[0] if there else ",")


def _fitting(path: Path, delimiter: str) -> _Style | None:
    """The style with a delimiter, if the first rows are written so."""
    try:
        style = _named(path, delimiter)
    except DataError:
        return None
    return style if _fits(path, style, _TRIED) else None


def _named(path: Path, delimiter: str) -> _Style:
    record = next(_records(path, _Style(delimiter)), None)
    return _Style(delimiter, tuple(record.values) if record else ())


def _fits(path: Path, style: _Style, most: int | None = None) -> bool:
    """Whether the first rows have as many values as the first line names."""
    try:
        return all(len(one.values) == len(style.names) for one in islice(_records(path, style), most))
    except DataError:
        return False


def _without_quoting(path: Path, style: _Style, notes: list[str]) -> _Style:
    """Take quotes as letters where they would join lines, or fit no quoting at all."""
    literal = replace(style, quoting=csv.QUOTE_NONE)
    try:
        strays = [one for one in _records(path, style) if one.swallows(style)]
        whole = not strays and _fits(path, style)
    except DataError:
        strays, whole = [], False
    if whole:
        return style
    if _fits(path, literal):
        why = f", as one would join {strays[0].place()} into one row" if strays else ""
        notes.append(f"Quotes in {path.name} are taken as part of its texts{why}.")
        return literal
    if strays:
        raise DataError(
            f"{path.name}: a quote opens in {strays[0].place()} and would join them into one row, though "
            "each is a row of its own. Remove it, or write texts with quotes in quotes, each doubled."
        )
    return style


def _rows(path: Path, style: _Style, joined: list[str]) -> Iterator[list[str]]:
    """Yield the rows below the names; note those that may be several in `joined`."""
    for record in islice(_records(path, style), 1, None):
        where = f"{path.name}, line {record.last}"
        if len(record.values) != len(style.names):
            raise DataError(
                f"{where} has {len(record.values)} values, but the first line names {len(style.names)} "
                f"columns {list(style.names)}. Quote texts that hold {style.delimiter!r}."
            )
        if len(style.names) > 1 and tuple(record.values) == style.names:
            raise DataError(f"{where} repeats the first line, as when files are joined. Remove it.")
        if record.swallows(style):
            joined.append(record.place())
        yield record.values


def _records(path: Path, style: _Style) -> Iterator[_Record]:
    """Yield each row, the names first; skip blank lines, marks of byte order and Excel's first line."""
    limit = csv.field_size_limit(2**31 - 1)  # the default refuses texts above 131,072 characters
    lines: list[str] = []
    try:
        reader = csv.reader(
            _lines(path, lines), delimiter=style.delimiter, quoting=style.quoting, strict=True
        )
        for values in reader:
            if values and values != [END_OF_FILE] and not (reader.line_num == 1 and _names_separator(lines)):
                yield _Record(values, lines.copy(), reader.line_num)
            lines.clear()
    except csv.Error as error:
        raise DataError(
            f"{path.name}, line {reader.line_num}: {error}. A text with quotes is written in quotes, each "
            "doubled."
        ) from error
    finally:
        csv.field_size_limit(limit)


def _names_separator(lines: list[str]) -> bool:
    return lines[0].lower().startswith(_SEPARATOR_LINE) and len(lines[0].rstrip("\r\n")) == 5


def _lines(path: Path, noted: list[str]) -> Iterator[str]:
    """Yield the lines of a file, and note each."""
    with path.open(encoding="utf-8", newline="") as stream:
        for number, line in enumerate(stream):
            noted.append(line if number else line.lstrip(BYTE_ORDER_MARK))
            yield noted[-1]
