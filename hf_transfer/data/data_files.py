"""Read CSV, TSV, JSON, JSON Lines and Parquet files; texts never become missing values."""

import codecs
import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, concatenate_datasets

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import DataError
from hf_transfer.machine.mapped import ROWS_AT_ONCE, as_dataset, mapped_table
from hf_transfer.machine.parsing import parse_json

SPLITS = {
    "train": "train", "training": "train", "test": "test", "testing": "test", "eval": "test",
    "evaluation": "test", "validation": "validation", "valid": "validation", "val": "validation",
    "dev": "validation",
}  # fmt: skip
_UTF8 = re.compile(r"[^\x00\ud800-\udfff]*")  # without zero bytes and halves of letters
_MAX_BYTES = 2**31  # of rows that any Parquet file may take
_MAX_SWELLING = 100  # times its own size that a larger one may take; few real columns shrink by so much
_ROWS_AT_ONCE = 256
_WORDS = re.compile(r"[a-z]+")
_BYTES_AT_ONCE = 1_000_000


def read_file(path: Path) -> Dataset:
    """Read a file with every column and row; CSV and Parquet in pieces, memory-mapped.

    CSV columns are all texts, as the file has no types; `name_labels` tells numbers from names.

    Raises:
        DataError: If the file is empty, damaged, or not UTF-8, with the line or byte where it goes wrong.
    """
    if not path.is_file():
        raise DataError(f"No such file: {path.absolute()}.")
    try:
        table = _READERS[path.suffix.lower()](path)
        _refuse_names(table.column_names, path)
        if not table.num_rows or not table.num_columns:
            raise DataError(f"{path.name} holds no rows. Give a file with a header and at least two rows.")
        return as_dataset(table)
    except DataError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, pa.ArrowException) as error:
        raise DataError(
            f"{path.name} has columns that cannot be read: {' '.join(str(error).split())[:200]}. Columns "
            "hold texts, numbers, lists or pictures; leave out or convert the others."
        ) from error


def read_shards(paths: Sequence[Path]) -> Dataset:
    """Read the files of one split, in order, as one dataset.

    Raises:
        DataError: If a file cannot be read, or two have other columns or types.
    """
    shards = [read_file(path) for path in paths]
    for path, shard in zip(paths[1:], shards[1:], strict=True):
        if set(shard.column_names) != set(shards[0].column_names):
            raise DataError(
                f"Columns differ: {paths[0].name} has {sorted(shards[0].column_names)}, {path.name} has "
                f"{sorted(shard.column_names)}. Give files with the same columns."
            )
    try:
        return concatenate_datasets(shards)
    except (ValueError, TypeError) as error:
        names = ", ".join(path.name for path in paths)
        raise DataError(f"The types of columns differ between {names}: {error}") from error


def split_files(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Group files by the split in their names; without one, all are 'train'.

    Example:
        >>> sorted(split_files([Path("train-0.csv"), Path("train-1.csv"), Path("my_test.csv")]))
        ['test', 'train']

    Raises:
        DataError: If only some names say a split, or one says two: rows would be lost without a word.
    """
    groups: dict[str, list[Path]] = {}
    unnamed = []
    for path in sorted(paths):
        said = {SPLITS[word] for word in _WORDS.findall(path.stem.lower()) if word in SPLITS}
        if len(said) > 1:
            raise DataError(f"The name of {path.name} says two splits, {sorted(said)}. Rename it.")
        if said:
            groups.setdefault(said.pop(), []).append(path)
        else:
            unnamed.append(path)
    if groups and unnamed:
        raise DataError(
            f"{unnamed[0].name} says no split, but {next(iter(groups.values()))[0].name} does. Name every "
            "file for its split (train, validation, test), or give one file as --dataset."
        )
    return groups or {"train": unnamed}


def _read_csv(path: Path) -> pa.Table:
    _refuse_other_than_utf8(path)
    with path.open(encoding="utf-8-sig", newline="") as stream:
        header = stream.readline()
        stream.seek(0)
        # A comma in the header decides, as texts may hold the other two.
        delimiter = "\t" if path.suffix.lower() == ".tsv" else next((d for d in ",;\t" if d in header), ",")
        lines = _csv_lines(stream, delimiter, path)
        _, names = next(lines, (0, []))
        _refuse_names(names, path)
        rows = (_checked_row(row, names, f"{path.name}, line {number}", delimiter) for number, row in lines)
        schema = pa.schema([(name, pa.string()) for name in names])
        return mapped_table(_csv_batches(rows, schema), schema)


def _refuse_names(names: Sequence[str], path: Path) -> None:
    repeated = next((name for name, times in Counter(names).items() if times > 1), None)
    if repeated is not None:
        raise DataError(f"{path.name} has more than one column {repeated!r}. Rename one of them.")
    if odd := [name for name in names if not _UTF8.fullmatch(name)]:
        raise DataError(f"{path.name} has a column {odd[0]!r}, whose name is no whole text. Rename it.")


def _csv_batches(rows: Iterator[list[str]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    while some := list(islice(rows, ROWS_AT_ONCE)):
        columns = [pa.array(values, pa.string()) for values in zip(*some, strict=True)]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _checked_row(row: list[str], names: Sequence[str], where: str, delimiter: str) -> list[str]:
    if len(row) != len(names):
        raise DataError(
            f"{where} has {len(row)} values, but the first line names {len(names)} columns {names}. "
            f"Quote texts that hold {delimiter!r}."
        )
    return row


def _csv_lines(stream: TextIO, delimiter: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the number of its last line; skip blank lines."""
    limit = csv.field_size_limit(2**31 - 1)  # the default refuses texts above 131,072 characters
    try:
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        yield from ((reader.line_num, row) for row in reader if row)
    except csv.Error as error:
        raise DataError(
            f"{path.name}, line {reader.line_num}: {error}. A text with quotes is written in quotes, each "
            "doubled."
        ) from error
    finally:
        csv.field_size_limit(limit)


def _read_json_lines(path: Path) -> pa.Table:
    # Not splitlines(): texts may hold the other line ends of Unicode.
    lines = enumerate(read_text(path).split("\n"), 1)
    return _as_table([_parse_object(line, number, path) for number, line in lines if line.strip()], path)


def _parse_object(line: str, number: int, path: Path) -> dict[str, Any]:
    try:
        row = parse_json(line)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path.name}, line {number} is not JSON: {error.msg}, at column {error.colno}."
        ) from error
    except ValueError as error:
        raise DataError(f"{path.name}, line {number} cannot be read: {error}. Write it otherwise.") from error
    if not isinstance(row, dict):
        raise DataError(
            f"{path.name}, line {number} is a {type(row).__name__}; each line must be an object, e.g. "
            '{"text": "…", "label": "…"}.'
        )
    return row


def _read_json(path: Path) -> pa.Table:
    try:
        content = parse_json(read_text(path))
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":  # JSON Lines under the name .json, as on much of the Hub
            return _read_json_lines(path)
        raise DataError(f"{path.name}, line {error.lineno} is not JSON: {error.msg}.") from error
    except ValueError as error:
        raise DataError(f"{path.name} cannot be read: {error}. Write it otherwise.") from error
    if isinstance(content, dict):
        lists = [value for value in content.values() if _is_records(value)]
        if len(lists) == 1:
            content = lists[0]
    if _is_records(content):
        return _as_table(content, path)
    if isinstance(content, dict) and content and all(isinstance(value, list) for value in content.values()):
        return _from_columns(content, path)
    raise DataError(
        f"{path.name} must hold a list of objects, or one object with a list for each column. For one "
        "object a line, name it .jsonl."
    )


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _from_columns(columns: Mapping[str, list[Any]], path: Path) -> pa.Table:
    _refuse_names(list(columns), path)
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"The columns of {path.name} have different lengths: {lengths}.")
    return pa.table({name: _as_array(values, name, path) for name, values in columns.items()})


def _as_table(rows: Sequence[Mapping[str, Any]], path: Path) -> pa.Table:
    names = list(dict.fromkeys(name for row in rows for name in row))
    _refuse_names(names, path)
    return pa.table({name: _as_array([row.get(name) for row in rows], name, path) for name in names})


def _as_array(values: list[Any], name: str, path: Path) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
        raise DataError(
            f"Column {name!r} of {path.name} {_mixture(values) or f'cannot be read: {error}'}."
        ) from error


def _mixture(values: list[Any]) -> str | None:
    first: dict[type, int] = {}
    for row, value in enumerate(values):
        if value is not None:
            first.setdefault(type(value), row)
    if len(first) < 2:
        return None
    shown = [f"{values[row]!r} ({kind.__name__}) in row {row}" for kind, row in list(first.items())[:2]]
    return f"mixes types: {' and '.join(shown)}, the first row being 0. Write all values alike"


def _read_parquet(path: Path) -> pa.Table:
    try:
        with pq.ParquetFile(path) as file:
            return mapped_table(_bounded_batches(file, path), file.schema_arrow)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path.name} is not a whole Parquet file: {' '.join(str(error).split())}. Get or write it again."
        ) from error


def _bounded_batches(file: pq.ParquetFile, path: Path) -> Iterator[pa.RecordBatch]:
    """Read in pieces, since a few bytes of such a file can expand to terabytes."""
    size, most = 0, max(_MAX_BYTES, _MAX_SWELLING * path.stat().st_size)
    for batch in file.iter_batches(_ROWS_AT_ONCE):
        batch.validate(full=True)
        size += batch.nbytes
        if size > most:
            raise DataError(
                f"{path.name} has {path.stat().st_size:,} bytes and stands for more than {most:,}, as no "
                "real rows do. Write it anew from where the rows come from."
            )
        yield batch


def read_text(path: Path) -> str:
    """Read a text file without its byte order mark.

    Raises:
        DataError: If it is not UTF-8, with the byte where it goes wrong.
    """
    _refuse_other_than_utf8(path)
    return path.read_text(encoding="utf-8-sig")


def _refuse_other_than_utf8(path: Path) -> None:
    decoder, place = codecs.getincrementaldecoder("utf-8")(), 0
    with path.open("rb") as stream:
        start = stream.read(2)
        stream.seek(0)
        while True:
            data = stream.read(_BYTES_AT_ONCE)
            waiting = len(decoder.getstate()[0])
            try:
                decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                byte = place - waiting + error.start
                wide = start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
                raise DataError(
                    f"{path.name} is not UTF-8: byte {byte} is 0x{error.object[error.start]:02x}"
                    f"{'; it looks like UTF-16' if wide else ''}. Save it as UTF-8."
                ) from error
            if not data:
                return
            place += len(data)


_READERS: dict[str, Callable[[Path], pa.Table]] = {
    ".csv": _read_csv, ".tsv": _read_csv, ".json": _read_json, ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines, ".parquet": _read_parquet,
}  # fmt: skip

SUFFIXES = frozenset(_READERS)
