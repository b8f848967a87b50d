"""Read CSV, TSV, JSON, JSON Lines and Parquet files; texts never become missing values."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, concatenate_datasets

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.data.conll_files import SUFFIXES as CONLL
from hf_transfer.data.conll_files import is_conll, read_conll
from hf_transfer.data.csv_files import CsvFile
from hf_transfer.data.json_files import read_json, read_json_lines
from hf_transfer.data.text_files import refuse_names
from hf_transfer.data.word_rows import joined_sentences
from hf_transfer.errors import DataError
from hf_transfer.machine.mapped import as_dataset, mapped_table
from hf_transfer.machine.paths import refuse_special

Loaded = tuple[Dataset, tuple[str, ...]]  # rows, and notes on what was left out or changed
SPLITS = {
    "train": "train", "training": "train", "test": "test", "testing": "test", "eval": "test",
    "evaluation": "test", "validation": "validation", "valid": "validation", "val": "validation",
    "dev": "validation",
}  # fmt: skip
_MAX_BYTES = 2**31  # of rows that any Parquet file may take
_MAX_SWELLING = 100  # times its own size that a larger one may take; few real columns shrink by so much
_ROWS_AT_ONCE = 256
_WORDS = re.compile(r"[a-z]+")


def read_file(path: Path) -> Loaded:
    """Read a file with every column and row; CSV and Parquet in pieces, memory-mapped.

    CSV columns are all texts, as the file has no types; `name_labels` tells numbers from names.

    Returns:
        The rows, and what to know of how they were read.

    Raises:
        DataError: If the file is empty, damaged, or not UTF-8, with the line or byte where it goes wrong.
    """
    refuse_special(path)
    if not path.is_file():
        raise DataError(f"No such file: {path.absolute()}.")
    try:
        table, notes = _reader(path)(path)
        refuse_names(table.column_names, path)
        if not table.num_rows or not table.num_columns:
            why = " ".join([f"{path.name} holds no rows.", *notes])
            raise DataError(f"{why} Give a file with a header and at least two rows.")
        return as_dataset(table), notes
    except DataError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, pa.ArrowException) as error:
        raise DataError(
            f"{path.name} has columns that cannot be read: {' '.join(str(error).split())[:200]}. Columns "
            "hold texts, numbers, lists or pictures; leave out or convert the others."
        ) from error


def is_data_file(path: Path) -> bool:
    """Whether `read_file` reads such a file, by its name's end, or as CoNLL by its content."""
    return path.suffix.lower() in SUFFIXES or is_conll(path)


def read_shards(paths: Sequence[Path]) -> Loaded:
    """Read the files of one split, in order, as one dataset.

    Raises:
        DataError: If a file cannot be read, or two have other columns or types.
    """
    loaded = [read_file(path) for path in paths]
    shards, notes = [rows for rows, _ in loaded], tuple(note for _, notes in loaded for note in notes)
    for path, shard in zip(paths[1:], shards[1:], strict=True):
        if set(shard.column_names) != set(shards[0].column_names):
            raise DataError(
                f"Columns differ: {paths[0].name} has {sorted(shards[0].column_names)}, {path.name} has "
                f"{sorted(shard.column_names)}. Give files with the same columns."
            )
    try:
        return concatenate_datasets(shards), notes
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


def _read_csv(path: Path) -> tuple[pa.Table, tuple[str, ...]]:
    file = CsvFile(path)
    table, notes = joined_sentences(mapped_table(file.batches(), file.schema), path.name)
    return table, (*file.notes(), *notes)


def _read_parquet(path: Path) -> tuple[pa.Table, tuple[str, ...]]:
    try:
        with pa.OSFile(os.fsencode(path)) as stream, pq.ParquetFile(stream) as file:  # a name is no protocol
            return mapped_table(_bounded_batches(file, path), file.schema_arrow), ()
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


def _reader(path: Path) -> "_Reader":
    suffix = path.suffix.lower()
    return read_conll if suffix != ".parquet" and is_conll(path) else _READERS[suffix]


_Reader = Callable[[Path], tuple[pa.Table, tuple[str, ...]]]
_READERS: dict[str, _Reader] = {
    ".csv": _read_csv, ".tsv": _read_csv, ".json": read_json, ".jsonl": read_json_lines,
    ".ndjson": read_json_lines, ".parquet": _read_parquet,
}  # fmt: skip

SUFFIXES = frozenset(_READERS) | CONLL
LISTED_SUFFIXES = ", ".join([*sorted(_READERS), *sorted(CONLL)])
