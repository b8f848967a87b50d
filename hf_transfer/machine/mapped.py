"""Datasets in a memory-mapped file, so that many rows take no more memory than few."""

import os
import tempfile
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
from datasets import Dataset

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import DataError
from hf_transfer.machine.cache import cache_folder

ROWS_AT_ONCE = 1000
KEPT_IN_MEMORY = 4_000_000  # bytes; fewer are not worth a file


def mapped_rows(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Dataset:
    """Turn record batches into a dataset; more than 4 MB goes to a memory-mapped file.

    The file has lost its name when this returns, and goes with the last dataset that reads it.

    Args:
        batches: Read one after the other, and not kept.
        schema: Of each of them.

    Raises:
        DataError: If the disk has no room.
    """
    return as_dataset(mapped_table(batches, schema))


def as_dataset(table: pa.Table) -> Dataset:
    """Wrap a table as a dataset under a random fingerprint, which saves hashing all of it."""
    return Dataset(table, fingerprint=uuid4().hex)


def mapped_table(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    """Do what `mapped_rows` does, but return an Arrow table."""
    first, size, rest = [], 0, iter(batches)
    for batch in rest:
        first.append(batch)
        size += batch.nbytes
        # Elsewhere a file that is mapped cannot lose its name.
        if size > KEPT_IN_MEMORY and os.name == "posix":
            return _in_file(chain(first, rest), schema)
    return pa.Table.from_batches(first, schema)


def _in_file(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    folder = cache_folder()  # not the system's folder for such files, which may itself be memory
    folder.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(prefix="tmp", dir=folder)
    try:
        with os.fdopen(number, "wb") as stream, pa.ipc.new_stream(stream, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        return pa.ipc.open_stream(pa.memory_map(name)).read_all()
    except OSError as error:
        if error.errno is None:  # not of the file that is written, but of what the batches come from
            raise
        raise DataError(
            f"The rows cannot be laid in {folder} ({error.strerror or error}). Make room there, or name "
            "another folder by HF_DATASETS_CACHE."
        ) from error
    finally:
        Path(name).unlink()
