"""Features of a data set in shards, one file each, so that machines share the pass over it.

Rows go through the model in blocks that are the same however many shards there are, as sums in floating point
depend on what is computed together: shards that are joined are one pass, to the bit.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.parts import read_part
from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.labelled import LabelledData, fingerprint
from hf_transfer.data.opening import find_task, open_dataset
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.machine.files import load_table, make_folder, write_table
from hf_transfer.machine.wording import some
from hf_transfer.replay.encoding import encode_rows
from hf_transfer.replay.features.output_inputs import output_inputs
from hf_transfer.tasks import Task, task_of_kind
from hf_transfer.training.workers import make_accelerator

_BLOCK = (
    4096  # rows; each is in the store of features by itself, so that a shard goes on where it was stopped
)
_NAME = re.compile(r"features-(\d+)-of-(\d+)\.parquet")


@dataclass(frozen=True)
class Shard:
    """A file of features.

    Attributes:
        path: The file.
        rows: How many it has.
        width: Of the features.
        found: Whether it was there before.
        lacking: Numbers of the shards that are not there yet.
    """

    path: str
    rows: int
    width: int
    found: bool
    lacking: list[int]


def write_shard(config: RunConfig, shard: str, *, kind: str | None = None) -> Shard:
    """Compute the features of one shard of a data set: what a base model's output layer reads of each row.

    Args:
        config: Of which the data set, `base_model`, the seed and `output_dir` are used.
        shard: Such as 0/10 for the first of ten: contiguous rows.
        kind: What a row's input is; found by itself when not given.

    Raises:
        DataError: If the rows cannot be used, or there are fewer blocks of rows than shards.
        ModelError: If the model cannot be used.
    """
    index, number = read_part(shard)
    path = Path(config.output_dir) / f"features-{index}-of-{number}.parquet"
    data = open_dataset(config, (task_of_kind(kind) if kind else find_task(config)).input.name)
    task = data.task(config, data.target)
    about = _about(task, data)
    found = path.is_file() and pq.read_schema(path).metadata == about
    if not found:
        make_folder(path.parent)
        write_table(path, _table(task, data, index, number).replace_schema_metadata(about))
    file = pq.read_metadata(path)
    width = pq.read_schema(path).field("features").type.list_size
    there = {int(name[1]) for name in _names(path.parent) if int(name[2]) == number}
    return Shard(str(path), file.num_rows, width, found, sorted(set(range(number)) - there))


def read_shards(folder: Path) -> tuple[list[Any], NDArray[np.float32]]:
    """Join the files of all shards: the id of each row, and its features, (n, d).

    Raises:
        ConfigError: If some are not there, or are of other data or another base model.
    """
    names = _names(folder)
    numbers = {int(name[2]) for name in names}
    if len(numbers) != 1:
        raise ConfigError(f"{folder} holds {'no shards' if not numbers else 'shards of different numbers'}.")
    lacking = set(range(*numbers)) - {int(name[1]) for name in names}
    if lacking:
        raise ConfigError(
            f"{folder} lacks {some(sorted(map(str, lacking)), noun='shard')} of {numbers.pop()}."
        )
    tables = [load_table(folder / name[0]) for name in sorted(names, key=lambda name: int(name[1]))]
    if len({str(table.schema.metadata) for table in tables}) > 1:
        raise ConfigError(f"{folder} holds shards of different data or base models. Give each an own folder.")
    joined = pa.concat_tables(tables)
    values = joined["features"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return joined["row_id"].to_pylist(), values.reshape(len(joined), -1)


def _names(folder: Path) -> list[re.Match[str]]:
    return [found for path in folder.iterdir() if (found := _NAME.fullmatch(path.name))]


def _about(task: Task, data: LabelledData) -> dict[bytes, bytes]:
    """What decides the values: kept in each file."""
    about = {"base_model": task.base.name, "revision": str(task.base.revision), "rows": data.fingerprint}
    return {name.encode(): value.encode() for name, value in (about | {"block": str(_BLOCK)}).items()}


def _table(task: Task, data: LabelledData, index: int, number: int) -> pa.Table:
    """The ids of a shard's rows, and their features."""
    blocks = -(-len(data.rows) // _BLOCK)
    if number > blocks:
        raise DataError(
            f"{data.name} has {len(data.rows):,} rows, which are {blocks} blocks of {_BLOCK:,}: at most as "
            f"many shards, and {number} were asked for. Give --shard 0/{blocks} to 0/1."
        )
    first, last = index * blocks // number, (index + 1) * blocks // number
    accelerator = make_accelerator(task.settings)
    ids, values = [], []
    for block in range(first, last):
        rows = data.rows.select(range(block * _BLOCK, min((block + 1) * _BLOCK, len(data.rows))))
        encoded = encode_rows(task, rows, fingerprint(rows, task.input, task.label_names), accelerator)
        values.append(output_inputs(task, encoded, task.settings, accelerator).values)
        ids += rows["row_id"][:]
    joined = np.concatenate(values)
    column = pa.FixedSizeListArray.from_arrays(pa.array(joined.ravel(), pa.float32()), joined.shape[1])
    return pa.table({"row_id": ids, "features": column})
