"""Read a column of texts, or of lists of words, whatever its storage."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, Features, LargeList, List, Value

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import DataError
from hf_transfer.machine.mapped import ROWS_AT_ONCE, mapped_rows
from hf_transfer.tasks.targets.labels import refuse_rows
from hf_transfer.tasks.written_lists import written_list

TEXT_TYPES = ("string", "large_string")


LIST_TYPES = (List, LargeList)


MAX_CHARACTERS = 5_000_000  # of a text: several thick books, where models read some pages


def read_texts(dataset: Dataset, column: str) -> Dataset:
    """Make a dataset of the one column `input` of texts, row for row; a missing text is empty.

    Raises:
        DataError: If the column holds something else, or a text is too long.
    """
    feature = dataset.features[column]
    if getattr(feature, "dtype", None) not in (*TEXT_TYPES, "null"):
        raise DataError(
            f"Column {column!r} holds {type_name(feature)}, not texts. Pass --input_column with a column "
            "of texts."
        )
    schema = Features({"input": Value("string")}).arrow_schema
    batches = dataset.select_columns([column]).with_format("arrow").iter(ROWS_AT_ONCE)
    texts = (pc.fill_null(batch[column].cast(pa.string()), "") for batch in batches)
    bounded = _bounded(texts, column)
    return mapped_rows((one for some in bounded for one in pa.table([some], schema).to_batches()), schema)


def side_by_side(columns: Mapping[str, Dataset], rows_at_once: int = ROWS_AT_ONCE) -> Dataset:
    """Make a dataset of the one column `input`, whose fields are the inputs of several datasets."""
    features = {"input": {name: part.features["input"] for name, part in columns.items()}}
    schema = Features(features).arrow_schema
    parts = zip(*(part.with_format("arrow").iter(rows_at_once) for part in columns.values()), strict=True)
    joined = (
        pa.StructArray.from_arrays(
            [pa.chunked_array(part["input"]).combine_chunks() for part in some], names=list(columns)
        )
        for some in parts
    )
    return mapped_rows((pa.RecordBatch.from_arrays([one], schema=schema) for one in joined), schema)


def beside(inputs: Dataset, name: str, more: Dataset, rows_at_once: int = ROWS_AT_ONCE) -> Dataset:
    """Add the inputs of a dataset to those of another, whose inputs have fields, as one more field."""
    features = {"input": inputs.features["input"] | {name: more.features["input"]}}
    schema = Features(features).arrow_schema
    parts = zip(*(part.with_format("arrow").iter(rows_at_once) for part in (inputs, more)), strict=True)

    def joined(first: Any, second: Any) -> pa.RecordBatch:
        fields = pa.chunked_array(first["input"]).combine_chunks()
        names = [*(field.name for field in fields.type), name]
        values = [*fields.flatten(), pa.chunked_array(second["input"]).combine_chunks()]
        return pa.RecordBatch.from_arrays([pa.StructArray.from_arrays(values, names=names)], schema=schema)

    return mapped_rows((joined(*some) for some in parts), schema)


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


def read_words(dataset: Dataset, column: str) -> Dataset:
    """Make a dataset of the one column `input` of lists of words, row for row; a missing list is empty.

    Raises:
        DataError: If the column holds something else, or a word is missing.
    """
    feature = dataset.features[column]
    inner = feature.feature if isinstance(feature, LIST_TYPES) else None
    written = _written_lists(dataset, column) if getattr(feature, "dtype", None) in TEXT_TYPES else None
    if written is None and getattr(inner, "dtype", None) not in (*TEXT_TYPES, "null"):
        raise DataError(
            f"Column {column!r} holds {type_name(feature)}, not lists of words such as ['New', 'York']. "
            "Split the texts into words, one tag for each, e.g. in JSON Lines; or give spans of characters."
        )
    values = written or [words or [] for words in dataset[column][:]]
    missing = [row for row, words in enumerate(values) if None in words]
    refuse_rows(missing, f"with a missing word in column {column!r}", "Fill them in or leave them out.")
    return Dataset.from_dict({"input": values}, Features({"input": List(Value("string"))}))


def _written_lists(dataset: Dataset, column: str) -> list[list[str]] | None:
    """The lists in a column of texts, where each is one or is empty."""
    lists = [written_list(text) if text else [] for text in dataset[column]]
    return None if None in lists or not any(lists) else lists  # type: ignore[return-value]


def lengths(sizes: Sequence[float]) -> dict[str, float]:
    """Minimum, median, 95th percentile and maximum of numbers of words, or of seconds."""
    most = {
        "min": np.min(sizes),
        "median": np.median(sizes),
        "p95": np.percentile(sizes, 95),
        "max": np.max(sizes),
    }
    return {name: float(value) for name, value in most.items()}


def type_name(feature: Any) -> str:
    """What messages call the type of a column."""
    return str(getattr(feature, "dtype", None) or type(feature).__name__)
