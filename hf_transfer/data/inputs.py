"""Convert pictures, texts or words of any storage to the `input` column that tasks read."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Array2D, Array3D, Dataset, Features, Image, LargeList, List, Value

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.config.run_config import Kind
from hf_transfer.errors import DataError
from hf_transfer.machine.mapped import ROWS_AT_ONCE, mapped_rows
from hf_transfer.machine.paths import local_path, refuse_links
from hf_transfer.tasks.inputs.pictures import encode_pixels
from hf_transfer.tasks.targets.labels import refuse_rows

_TEXT = ("string", "large_string")
_LISTS = (List, LargeList)
MAX_CHARACTERS = 5_000_000  # of a text: several thick books, where models read some pages
_PICTURES_AT_ONCE = 64  # they may hold pixels


def standard_inputs(dataset: Dataset, column: str, kind: Kind, *, folder: Path | None) -> Dataset:
    """Make a dataset of the one column `input`, row for row.

    Pictures become {"bytes", "path"} and are not decoded, texts strings, words lists of strings.

    Args:
        dataset: Where the column is.
        column: Its name.
        kind: What it should hold.
        folder: Folder that paths are relative to and must stay in; None takes them as they are.

    Raises:
        DataError: If the column holds something else.
    """
    if kind == "image":
        return _pictures(dataset, column, folder)
    return _texts(dataset, column) if kind == "text" else _words(dataset, column)


def empty_rows(inputs: Dataset, kind: Kind) -> list[int]:
    """Positions of texts without a visible character, or of sentences without words."""
    if kind == "image":
        return []
    values = (value for batch in inputs.iter(ROWS_AT_ONCE) for value in batch["input"])
    if kind == "text":
        return [row for row, text in enumerate(values) if not text.strip()]
    return [row for row, words in enumerate(values) if not words]


def _texts(dataset: Dataset, column: str) -> Dataset:
    feature = dataset.features[column]
    if getattr(feature, "dtype", None) not in (*_TEXT, "null"):
        raise DataError(
            f"Column {column!r} holds {_type_name(feature)}, not texts. Pass --input_column with a column "
            "of texts."
        )
    schema = Features({"input": Value("string")}).arrow_schema
    batches = dataset.select_columns([column]).with_format("arrow").iter(ROWS_AT_ONCE)
    texts = (pc.fill_null(batch[column].cast(pa.string()), "") for batch in batches)
    bounded = _bounded(texts, column)
    return mapped_rows((one for some in bounded for one in pa.table([some], schema).to_batches()), schema)


def _bounded(texts: Iterable[pa.ChunkedArray], column: str) -> Iterator[pa.ChunkedArray]:
    """Pass texts on; stop at one that would keep a tokenizer busy for minutes."""
    start = 0
    for some in texts:
        long = np.flatnonzero(pc.utf8_length(some).to_numpy() > MAX_CHARACTERS)
        refuse_rows(
            (long + start).tolist(),
            f"with more than {MAX_CHARACTERS:,} characters in column {column!r}",
            "Cut such texts.",
        )
        start += len(some)
        yield some


def _words(dataset: Dataset, column: str) -> Dataset:
    feature = dataset.features[column]
    inner = feature.feature if isinstance(feature, _LISTS) else None
    if getattr(inner, "dtype", None) not in (*_TEXT, "null"):
        raise DataError(
            f"Column {column!r} holds {_type_name(feature)}, not lists of words such as ['New', 'York']. "
            "Split the texts into words, one tag for each, e.g. in JSON Lines."
        )
    values = [words or [] for words in dataset[column][:]]
    missing = [row for row, words in enumerate(values) if None in words]
    refuse_rows(missing, f"with a missing word in column {column!r}", "Fill them in or leave them out.")
    return Dataset.from_dict({"input": values}, Features({"input": List(Value("string"))}))


def _pictures(dataset: Dataset, column: str, folder: Path | None) -> Dataset:
    inputs = dataset.select_columns([column]).rename_column(column, "input")
    feature = inputs.features["input"]
    if isinstance(feature, (Array2D, Array3D, *_LISTS)):
        return _as_pictures(_encode(row["input"], number) for number, row in enumerate(inputs))
    if getattr(feature, "dtype", None) in _TEXT:
        return _as_pictures(_at(path, folder, number) for number, path in enumerate(inputs["input"]))
    if not (isinstance(feature, Image) or _holds_pictures(feature)):
        raise DataError(
            f"Column {column!r} holds {_type_name(feature)}, not pictures. Allowed are pictures, their "
            "encoded bytes, paths, and arrays of 0 to 255. Pass --input_column with such a column."
        )
    inputs = inputs.cast_column("input", Image(decode=False))
    return _confined(inputs, folder)


def _holds_pictures(feature: Any) -> bool:
    if isinstance(feature, dict):
        return "bytes" in feature
    return getattr(feature, "dtype", None) in ("binary", "large_binary")


def _confined(inputs: Dataset, folder: Path | None) -> Dataset:
    """Check the paths of pictures on disk; other datasets pass unchanged."""
    batches = inputs.with_format("arrow").iter(batch_size=1000)
    if all(
        pa.chunked_array(batch["input"]).combine_chunks().field("bytes").null_count == 0 for batch in batches
    ):
        return inputs
    return _as_pictures(_follow(picture, folder, row) for row, picture in enumerate(inputs["input"]))


def _follow(picture: dict[str, Any] | None, folder: Path | None, row: int) -> dict[str, Any] | None:
    if picture is None or picture["bytes"] is not None:
        return picture
    return _at(picture["path"], folder, row)


def _at(path: str | None, folder: Path | None, row: int) -> dict[str, Any] | None:
    if path is None:
        return None  # the scan tells of it, as of all pictures that cannot be read
    if folder is not None:
        place = local_path(path, folder)
        refuse_links([place], folder)
        path = str(place)
    elif "://" in path:
        raise DataError(f"Row {row} holds the web address {path!r}; download the pictures first.")
    return {"bytes": None, "path": path}


def _encode(pixels: Any, row: int) -> dict[str, Any]:
    try:
        return {"bytes": encode_pixels(np.asarray(pixels)), "path": None}
    except ValueError as error:  # ours, and numpy's for lines of different lengths
        raise DataError(f"Row {row}: {error}.") from error


def _as_pictures(values: Iterable[dict[str, Any] | None]) -> Dataset:
    schema = Features({"input": Image(decode=False)}).arrow_schema
    return mapped_rows(_picture_batches(iter(values), schema), schema)


def _picture_batches(values: Iterator[Any], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    while some := list(islice(values, _PICTURES_AT_ONCE)):
        yield pa.RecordBatch.from_arrays([pa.array(some, schema.field("input").type)], schema=schema)


def _type_name(feature: Any) -> str:
    return str(getattr(feature, "dtype", None) or type(feature).__name__)
