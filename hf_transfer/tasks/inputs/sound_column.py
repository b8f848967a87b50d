"""Read a column of sounds, whatever its storage."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Audio, Dataset, Features, Value

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError
from hf_transfer.machine.mapped import mapped_rows
from hf_transfer.tasks.inputs.picture_column import path_of
from hf_transfer.tasks.inputs.sounds import encode_samples
from hf_transfer.tasks.inputs.text_column import LIST_TYPES, TEXT_TYPES, type_name

RATE_COLUMNS = ("sampling_rate", "sample_rate", "rate", "sr", "fs")

_SOUNDS_AT_ONCE = 64
_STORED = Features({"input": {"bytes": Value("binary"), "path": Value("string")}})


def read_sounds(dataset: Dataset, column: str, folder: Path | None, *, outside: bool = False) -> Dataset:
    """Make a dataset of the one column `input`, row for row: sounds as {"bytes", "path"}, not decoded.

    Args:
        dataset: Where the column is; arrays have their rate beside them, or in a column of its own.
        column: Its name.
        folder: Folder that paths are relative to, and must stay in; None takes them as they are.
        outside: Whether they may leave it.

    Raises:
        DataError: If the column holds something else, or nothing says the rate of arrays.
    """
    feature = dataset.features[column]
    at = partial(path_of, folder=folder, outside=outside)
    if isinstance(feature, Audio):
        dataset = dataset.cast_column(column, Audio(decode=False))
    values: Iterable[Any] = _values(dataset, column)
    fields = set(feature) if isinstance(feature, dict) else set()
    if isinstance(feature, LIST_TYPES):
        pairs = zip(values, _rates(dataset, column), strict=True)
        values = (_of_array(samples, rate, row) for row, (samples, rate) in enumerate(pairs))
    elif {"array", "sampling_rate"} <= fields:
        values = (
            one and _of_array(one["array"], one["sampling_rate"], row) for row, one in enumerate(values)
        )
    elif getattr(feature, "dtype", None) in TEXT_TYPES:
        values = (at(path, row=row) for row, path in enumerate(values))
    elif getattr(feature, "dtype", None) in ("binary", "large_binary"):
        values = ({"bytes": one, "path": None} for one in values)
    elif isinstance(feature, Audio) or "bytes" in fields:
        values = (_followed(one, at, row) for row, one in enumerate(values))
    else:
        raise DataError(
            f"Column {column!r} holds {type_name(feature)}, not sounds. Allowed are sounds, their encoded "
            "bytes, paths, and arrays with a sampling_rate. Pass --input_column with such a column."
        )
    return mapped_rows(_batches(iter(values)), _STORED.arrow_schema)


def _values(dataset: Dataset, column: str) -> Iterator[Any]:
    batches = dataset.select_columns([column]).with_format("arrow").iter(_SOUNDS_AT_ONCE)
    return (value for batch in batches for value in batch[column].to_pylist())


def _rates(dataset: Dataset, column: str) -> Iterable[int | None]:
    """The rate of each row's array, from the column that has them."""
    named = {name.lower(): name for name in dataset.column_names}
    found = next((named[name] for name in RATE_COLUMNS if name in named), None)
    if found is None:
        raise DataError(
            f"Column {column!r} holds arrays, and no column says how many samples they have a second. Add "
            f"one called {RATE_COLUMNS[0]!r}, e.g. 16000 in each row."
        )
    return _values(dataset, found)


def _of_array(samples: Any, rate: Any, row: int) -> dict[str, Any] | None:
    """A WAV file of an array; None of a missing one, which the scan tells."""
    if samples is None or not rate:
        return None
    try:
        return {"bytes": encode_samples(samples, int(float(rate))), "path": None}
    except (DataError, ValueError) as error:  # the latter of numpy, for lists of different lengths
        raise DataError(f"Row {row}: {error}.") from error


def _followed(sound: dict[str, Any] | None, at: Callable[..., Any], row: int) -> Any:
    if sound is None or sound["bytes"] is not None:
        return sound and {"bytes": sound["bytes"], "path": sound.get("path")}
    return at(sound["path"], row=row)


def _batches(values: Iterator[Any]) -> Iterator[pa.RecordBatch]:
    schema = _STORED.arrow_schema
    while some := list(islice(values, _SOUNDS_AT_ONCE)):
        yield pa.RecordBatch.from_arrays([pa.array(some, schema.field("input").type)], schema=schema)
