"""Encoded rows as they lie in their file: token ids and bytes are read where they are, not copied."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401

if TYPE_CHECKING:
    from datasets import Dataset

Reader = Callable[[NDArray[np.int64]], list[Any]]


class EncodedRows:
    """Reads rows that a task's `encode` made.

    Token ids, which `datasets` keeps in fewer than 64 bits, come as arrays, and bytes as arrays of uint8;
    both are the file's own memory. All else comes as Python has it.

    Args:
        encoded: The rows.
    """

    def __init__(self, encoded: "Dataset") -> None:
        table = encoded.with_format("arrow")[:]
        self._readers = {name: _reader(table.column(name)) for name in table.column_names}

    def at(self, positions: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Some rows, as one dictionary each."""
        columns = [read(positions) for read in self._readers.values()]
        return [dict(zip(self._readers, values, strict=True)) for values in zip(*columns, strict=True)]


def _reader(column: pa.ChunkedArray) -> Reader:
    """What reads values of a column at some positions."""
    kind = column.type
    if column.null_count:
        return _copied(column)
    if _is_number(kind):
        values = column.to_numpy()
        return lambda positions: values[positions].tolist()
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return _parts(column, [_bytes(chunk) for chunk in column.chunks])
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if (
        not lists
        or not _is_number(kind.value_type)
        or any(chunk.values.null_count for chunk in column.chunks)
    ):
        return _copied(column)
    views = _parts(column, [_lists(chunk) for chunk in column.chunks])
    if pa.types.is_integer(kind.value_type) and kind.value_type.bit_width < 64:
        return views
    return lambda positions: [values.tolist() for values in views(positions)]


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _copied(column: pa.ChunkedArray) -> Reader:
    return lambda positions: column.take(pa.array(positions)).to_pylist()


def _parts(column: pa.ChunkedArray, chunks: list[tuple[NDArray[Any], NDArray[Any]]]) -> Reader:
    """What reads a column of which each chunk is all its values end to end, and where each row begins."""
    first = np.cumsum([0, *map(len, column.chunks)])

    def read(positions: NDArray[np.int64]) -> list[Any]:
        numbers = np.searchsorted(first, positions, side="right") - 1
        found = []
        for number, place in zip(numbers.tolist(), (positions - first[numbers]).tolist(), strict=True):
            values, starts = chunks[number]
            found.append(values[starts[place] : starts[place + 1]])
        return found

    return read


def _lists(chunk: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    return chunk.values.to_numpy(), chunk.offsets.to_numpy()


def _bytes(chunk: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    _, starts, data = chunk.buffers()
    kind = np.int64 if pa.types.is_large_binary(chunk.type) else np.int32
    begins = np.frombuffer(starts, kind)[chunk.offset : chunk.offset + len(chunk) + 1]
    return np.frombuffer(data or b"", np.uint8), begins
