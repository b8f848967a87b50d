"""Columns, names of files and folders that may say which rows come from one source: author, video, patient.

They are kept as numbers beside the rows, so that a run can test whether such rows resemble each other, and
nothing but the name of a column is ever told.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
from datasets import Dataset
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.machine.wording import count

SOURCES = "sources"
"""The column of rows that holds a number for each candidate, under its words."""

Keys = NDArray[np.int64]
Found = Iterator[tuple[str, Keys]]

_FEWEST = 4  # groups: with fewer, hardly any fold could leave one out
_FEWEST_ROWS = 20  # to test anything
_ROWS_EACH = 1.5  # on average, at least
_LARGEST = 0.5  # share of the rows that one group has at most
_MOST = 12  # candidates: each takes a part of what can be found
_LONGEST_NAME = 200  # letters of a name; others are texts
_LOOKED_AT = 1000  # rows by which names are told from texts
_NUMBER = re.compile(r"(\d+)")
_LAST_NUMBER = re.compile(r"\d+\D*$")
_NAME = re.compile(r"^(?=.*\d)[\w\-./\\:~+@=#() ]+$")
_AMOUNT = re.compile(r"^\s*[-+]?\d*[.,]?\d+\s*$")  # a number in a text is nobody's name
_SOURCE_WORDS = re.compile(
    r"author|user|writer|reviewer|annotator|person|people|patient|subject|speaker|client|customer|family|"
    r"session|video|movie|film|clip|scene|episode|record|document|doc|article|paragraph|context|page|thread|"
    r"conversation|source|site|host|url|domain|scanner|camera|device|hospital|plot|specimen|slide|product",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Source:
    """A candidate that `inspect` tells of.

    Attributes:
        name: A column, or what the names of files have in common.
        groups: How many there are.
        rows: In the largest of them.
        likely: Whether its name says that its rows belong together.
    """

    name: str
    groups: int
    rows: int
    likely: bool

    @property
    def words(self) -> str:
        """It and its size, e.g. "column 'author' (12 groups, at most 9 rows)"."""
        return f"{in_words(self.name)} ({count(self.groups, 'group')}, at most {count(self.rows, 'row')})"


def in_words(name: str) -> str:
    """A candidate for a sentence: a column's name stands in quotes."""
    return f"column {column_of(name)!r}" if column_of(name) else name


def column_of(name: str) -> str | None:
    """The column that a candidate is; None for what was read out of names."""
    return name[1:] if name.startswith("=") else None


def with_sources(rows: Dataset, part: Dataset, used: Sequence[str | None]) -> Dataset:
    """Add the column `sources` to rows, if anything may say which of them belong together.

    Args:
        rows: With `input`, row for row those of `part`.
        part: As they are stored.
        used: Columns that hold inputs and labels.
    """
    from datasets import concatenate_datasets

    found: dict[str, Keys] = {}
    seen = {np.arange(len(part)).tobytes()}  # the order of the rows is tested anyway
    for name, keys in _candidates(rows, part, used) if len(part) >= _FEWEST_ROWS else ():
        same = keys.tobytes()
        if len(found) < _MOST and same not in seen:
            seen.add(same)
            found[name] = keys
    if not found:
        return rows
    column = pa.StructArray.from_arrays([pa.array(keys) for keys in found.values()], names=list(found))
    return concatenate_datasets([rows, Dataset(pa.table({SOURCES: column}))], axis=1)


def sources_of(rows: Dataset) -> dict[str, Keys]:
    """The candidates of rows: by name, a number for each row."""
    if SOURCES not in rows.column_names:
        return {}
    column = rows.select_columns([SOURCES]).with_format("arrow")[:][SOURCES].combine_chunks()
    return {field.name: column.field(field.name).to_numpy() for field in column.type}


def listed_sources(rows: Dataset) -> tuple[Source, ...]:
    """The candidates that are groups, those first whose name says that their rows belong together."""
    found = []
    for name, keys in sources_of(rows).items():
        sizes = np.unique(keys, return_counts=True)[1]
        if _are_groups(sizes, len(keys)):
            likely = column_of(name) is None or bool(_SOURCE_WORDS.search(name))
            found.append(Source(name, len(sizes), int(sizes.max()), likely))
    return tuple(sorted(found, key=lambda one: not one.likely))


def _candidates(rows: Dataset, part: Dataset, used: Sequence[str | None]) -> Found:
    for field in part.features.arrow_schema:
        if field.name not in used and (_has_order(field.type) or _holds_texts(field.type)):
            values = part.select_columns([field.name]).with_format("arrow")[:][field.name]
            yield from _of_column(field.name, pa.chunked_array(values).combine_chunks())
    stored = rows.features.arrow_schema.field("input").type
    if pa.types.is_struct(stored) and stored.get_field_index("path") >= 0:
        yield from _of_names("of files", _paths(rows))


def _of_column(column: str, values: pa.Array) -> Found:
    if _has_order(values.type):
        yield from _usable(f"={column}", _ranks(values))
    else:
        yield from _usable(f"={column}", _codes(values), order=False)
        texts = values.to_pylist() if _are_names(values) else []
        yield from _of_names(f"in column {column!r}", texts)


def _has_order(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_temporal(kind))


def _holds_texts(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _are_names(values: pa.Array) -> bool:
    some = [value for value in values[:_LOOKED_AT].to_pylist() if value]
    if not some or all(map(_AMOUNT.match, some)):
        return False
    return all(len(value) < _LONGEST_NAME and _NAME.match(value) for value in some)


def _of_names(where: str, names: Sequence[str | None]) -> Found:
    """What names have in common: host, folder, and what stands before their last numbers; and their order."""
    if not any(names):
        return
    texts = ["" if name is None else name for name in names]
    yield from _usable(f"hosts {where}", _coded([urlsplit(text).hostname for text in texts]), order=False)
    yield from _usable(f"folders {where}", _coded([_folder(text) for text in texts]), order=False)
    starts = [str(PurePath(text).with_suffix("")) if text else "" for text in texts]
    for lacking in ("last number", "last two numbers", "last three numbers"):
        starts = [_LAST_NUMBER.sub("", start) for start in starts]
        yield from _usable(f"names {where} without their {lacking}", _coded(starts), order=False)
    if 2 * len(set(texts)) > len(texts):
        yield f"order of the names {where}", _in_order(texts)


def _usable(name: str, keys: Keys, *, order: bool = True) -> Found:
    """A candidate with groups of some rows each, or an order of the rows where that makes sense."""
    sizes = np.unique(keys, return_counts=True)[1]
    if _are_groups(sizes, len(keys)) or (order and 2 * len(sizes) > len(keys)):
        yield name, keys


def _are_groups(sizes: Keys, num_rows: int) -> bool:
    several = _FEWEST <= len(sizes) <= num_rows / _ROWS_EACH
    return several and int(sizes.max()) <= _LARGEST * num_rows


def _codes(values: pa.Array) -> Keys:
    """Numbers of equal values by first appearance; what is missing or empty shares nothing."""
    codes = values.dictionary_encode()
    found: Keys = codes.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    empty = found < 0
    for blank in (i for i, value in enumerate(codes.dictionary.to_pylist()) if not str(value).strip()):
        empty |= found == blank
    found[empty] = len(codes.dictionary) + np.arange(int(empty.sum()))
    return found


def _coded(values: Sequence[str | None]) -> Keys:
    return _codes(pa.array(values, pa.string()))


def _ranks(values: pa.Array) -> Keys:
    """Numbers of equal values in their order; what is missing comes last."""
    numbers = _codes(values) if values.null_count else values.to_numpy(zero_copy_only=False)
    return np.asarray(np.unique(numbers, return_inverse=True)[1], np.int64)


def _folder(text: str) -> str | None:
    head, slash, _ = text.replace("\\", "/").rpartition("/")
    return head if slash else None


def _in_order(texts: Sequence[str]) -> Keys:
    """Places of names in an order in which 9 comes before 10."""
    keyed: list[list[Any]] = [
        [int(part) if i % 2 else part for i, part in enumerate(_NUMBER.split(text))] for text in texts
    ]
    places = np.empty(len(texts), np.int64)
    places[sorted(range(len(texts)), key=keyed.__getitem__)] = np.arange(len(texts))
    return places


def _paths(rows: Dataset) -> list[str | None]:
    column = rows.select_columns(["input"]).with_format("arrow")
    batches = (batch["input"] for batch in column.iter(_LOOKED_AT))
    return [
        path
        for batch in batches
        for path in pa.chunked_array(batch).combine_chunks().field("path").to_pylist()
    ]
