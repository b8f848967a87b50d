"""Read a column of pictures, whatever its storage."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Array2D, Array3D, Dataset, Features, Image

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import DataError
from hf_transfer.machine.mapped import mapped_rows
from hf_transfer.machine.paths import local_path, refuse_links, utf_8
from hf_transfer.tasks.inputs.pictures import encode_pixels
from hf_transfer.tasks.inputs.text_column import LIST_TYPES, TEXT_TYPES, type_name

_PICTURES_AT_ONCE = 64  # they may hold pixels


def read_pictures(dataset: Dataset, column: str, folder: Path | None, *, outside: bool = False) -> Dataset:
    """Make a dataset of the one column `input`, row for row: pictures as {"bytes", "path"}, not decoded.

    Args:
        dataset: Where the column is.
        column: Its name.
        folder: Folder that paths are relative to, and must stay in; None takes them as they are.
        outside: Whether they may leave it.

    Raises:
        DataError: If the column holds something else.
    """
    at = partial(path_of, folder=folder, outside=outside)
    inputs = dataset.select_columns([column]).rename_columns({column: "input"})
    feature = inputs.features["input"]
    if isinstance(feature, (Array2D, Array3D, *LIST_TYPES)):
        return as_pictures(_encode(row["input"], number) for number, row in enumerate(inputs))
    if getattr(feature, "dtype", None) in TEXT_TYPES:
        return as_pictures(at(path, row=number) for number, path in enumerate(inputs["input"]))
    if not (isinstance(feature, Image) or _holds_pictures(feature)):
        raise DataError(
            f"Column {column!r} holds {type_name(feature)}, not pictures. Allowed are pictures, their "
            "encoded bytes, paths, and arrays of 0 to 255. Pass --input_column with such a column."
        )
    inputs = inputs.cast_column("input", Image(decode=False))
    return _confined(inputs, at)


def _holds_pictures(feature: Any) -> bool:
    if isinstance(feature, dict):
        return "bytes" in feature
    return getattr(feature, "dtype", None) in ("binary", "large_binary")


def _confined(inputs: Dataset, at: Callable[..., Any]) -> Dataset:
    """Check the paths of pictures on disk; other datasets pass unchanged."""
    batches = inputs.with_format("arrow").iter(batch_size=1000)
    if all(
        pa.chunked_array(batch["input"]).combine_chunks().field("bytes").null_count == 0 for batch in batches
    ):
        return inputs
    return as_pictures(_follow(picture, at, row) for row, picture in enumerate(inputs["input"]))


def _follow(picture: dict[str, Any] | None, at: Callable[..., Any], row: int) -> Any:
    if picture is None or picture["bytes"] is not None:
        return picture
    return at(picture["path"], row=row)


def path_of(path: str | None, *, folder: Path | None, outside: bool, row: int) -> dict[str, Any] | None:
    """An input on disk, which its column names by a path; None of a missing one, such as an empty cell.

    Raises:
        DataError: If the path leads elsewhere.
    """
    if path is None or not path.strip():
        return None  # the scan tells of it, as of all pictures that cannot be read
    if folder is not None:
        place = local_path(path, folder, outside=outside)
        refuse_links([place], folder, outside=outside)
        path = utf_8(place)
    elif "://" in path:
        raise DataError(f"Row {row} holds the web address {path!r}; download the files first.")
    return {"bytes": None, "path": path}


def _encode(pixels: Any, row: int) -> dict[str, Any]:
    try:
        return {"bytes": encode_pixels(np.asarray(pixels)), "path": None}
    except ValueError as error:  # ours, and numpy's for lines of different lengths
        raise DataError(f"Row {row}: {error}.") from error


def as_pictures(values: Iterable[dict[str, Any] | None]) -> Dataset:
    """Make a dataset of the one column `input` from pictures as {"bytes", "path"}, one at a time."""
    schema = Features({"input": Image(decode=False)}).arrow_schema
    return mapped_rows(_picture_batches(iter(values), schema), schema)


def _picture_batches(values: Iterator[Any], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    while some := list(islice(values, _PICTURES_AT_ONCE)):
        yield pa.RecordBatch.from_arrays([pa.array(some, schema.field("input").type)], schema=schema)
