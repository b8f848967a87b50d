"""Features of a data set in shards, one file each, so that machines share the pass over it.

Rows go through the model in blocks that are the same however many shards there are, as sums in floating point
depend on what is computed together: shards that are joined are one pass, to the bit. A block is a row group
of its file, so that no more than one is in memory.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cluster.computing import MOST_ROWS, Computed, check_origin, open_block, plain_pass
from hf_transfer.cluster.handing import Carrier, Piece, Plain, done
from hf_transfer.cluster.parcel import pack_model
from hf_transfer.config.parts import read_part
from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.labelled import LabelledData, fingerprint
from hf_transfer.data.opening import find_task, open_dataset
from hf_transfer.errors import ConfigError, DataError, RunError
from hf_transfer.machine.files import enough_disk, load_table, make_folder, sync, temporary
from hf_transfer.machine.progress import progress_bar
from hf_transfer.machine.wording import count, some
from hf_transfer.replay.encoding import encode_rows
from hf_transfer.replay.features.output_inputs import stored_outputs
from hf_transfer.tasks import Task, task_of_kind
from hf_transfer.training.workers import make_accelerator

_BLOCK = MOST_ROWS  # each is in the store of features by itself, so that a shard goes on where it was stopped
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
    shards = _Shards.open(config, kind).split(number)
    found = shards.has(index)
    if not found:
        _write(shards.path(index), shards.computed(index))
    return shards.told(index, found=found)


def write_shards(
    config: RunConfig, carrier: Carrier, number: int | None = None, *, kind: str | None = None
) -> Shard:
    """Have the features of all shards computed on machines, and join them to one file.

    Args:
        config: As for `write_shard`.
        carrier: What carries each shard to a machine.
        number: Of shards; one for each block of rows when not given.
        kind: What a row's input is; found by itself when not given.

    Returns:
        The one file. The same call goes on from the shards that have arrived.

    Raises:
        ConfigError: If nodes compute other bits than each other.
        DataError: If the rows cannot be used, or there are fewer blocks of rows than shards.
        RunError: If a shard did not come back; the others are kept.
    """
    whole = _Shards.open(config, kind)
    shards = whole.split(number or whole.num_blocks)
    found = whole.has(0)
    if not found:
        shards.collect(carrier)
    if not found and shards.number > 1:
        _write(whole.path(0), _row_groups(shards.paths))
        for path in shards.paths:
            path.unlink()
    return whole.told(0, found=found)


def read_shards(folder: Path) -> tuple[list[Any], NDArray[np.float32]]:
    """Join the files of all shards: the id of each row, and its features, (n, d).

    Raises:
        ConfigError: If some are not there, or are of other data, another base model or other machines.
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
    paths = [folder / name[0] for name in sorted(names, key=lambda name: int(name[1]))]
    _check_alike(paths)
    joined = pa.concat_tables(map(load_table, paths))
    values = joined["features"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return joined["row_id"].to_pylist(), values.reshape(len(joined), -1)


@dataclass(frozen=True)
class _Shards:
    """The shards of a data set, of which some are there.

    Attributes:
        task: With the base model.
        data: The rows.
        number: Of shards.
    """

    task: Task
    data: LabelledData
    number: int

    @classmethod
    def open(cls, config: RunConfig, kind: str | None) -> "_Shards":
        """Open the rows, as one shard, where its folder can be made.

        Raises:
            DataError: If they cannot be used.
        """
        make_folder(Path(config.output_dir))
        data = open_dataset(config, (task_of_kind(kind) if kind else find_task(config)).input.name)
        if data.target.per_word:
            raise DataError(
                f"{data.name} has a label for each word, and these features are of rows. Give rows of one "
                "label each."
            )
        return cls(data.task(config, data.target), data, 1)

    def split(self, number: int) -> "_Shards":
        """The same rows in some shards.

        Raises:
            DataError: If there are fewer blocks than shards.
        """
        if number > self.num_blocks:
            raise DataError(
                f"{self.data.name} has {count(len(self.data.rows), 'row')}, which make "
                f"{count(self.num_blocks, 'block')} of {_BLOCK:,}: at most as many shards, and {number:,} "
                "were asked for. Ask for fewer."
            )
        return replace(self, number=number)

    @property
    def num_blocks(self) -> int:
        """Of all rows."""
        return -(-len(self.data.rows) // _BLOCK)

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return Path(self.task.settings.output_dir)

    def path(self, index: int) -> Path:
        """The file of a shard."""
        return self.folder / f"features-{index}-of-{self.number}.parquet"

    @property
    def paths(self) -> list[Path]:
        """The files of all shards."""
        return [self.path(index) for index in range(self.number)]

    @property
    def about(self) -> dict[str, str]:
        """What decides the values beside the machine: kept in each file."""
        base = self.task.base
        about = {"base_model": base.name, "revision": str(base.revision), "rows": self.data.fingerprint}
        return about | {"block": str(_BLOCK)}

    def has(self, index: int) -> bool:
        """Whether the file of a shard is there, of these rows and this model."""
        path = self.path(index)
        return path.is_file() and _metadata(path).items() >= self.about.items()

    def told(self, index: int, *, found: bool) -> Shard:
        """What there is to say of a shard that is there."""
        path = self.path(index)
        there = {int(name[1]) for name in _names(self.folder) if int(name[2]) == self.number}
        width = pq.read_schema(path).field("features").type.list_size
        lacking = sorted(set(range(self.number)) - there)
        return Shard(str(path), pq.read_metadata(path).num_rows, width, found, lacking)

    def blocks(self, index: int) -> list[Dataset]:
        """The rows of each block of a shard."""
        first, last = (end * self.num_blocks // self.number for end in (index, index + 1))
        rows = self.data.rows
        starts = range(first * _BLOCK, min(last * _BLOCK, len(rows)), _BLOCK)
        return [rows.select(range(start, min(start + _BLOCK, len(rows)))) for start in starts]

    def computed(self, index: int) -> Iterator[pa.Table]:
        """Compute a shard here, block by block."""
        task, accelerator = self.task, make_accelerator(self.task.settings)
        for rows in self.blocks(index):
            known = fingerprint(rows, task.input, task.label_names)
            stored = stored_outputs(
                task, encode_rows(task, rows, known, accelerator), task.settings, accelerator
            )
            yield self._table(rows, np.asarray(stored.found_or_made()[0], np.float32), stored.origin)

    def collect(self, carrier: Carrier) -> None:
        """Have the shards that are missing computed on machines, and write each when it arrives."""
        missing = [index for index in range(self.number) if not self.has(index)]
        origin: Plain | None = None
        lost: list[str] = []
        with progress_bar("shards", total=len(missing), unit="shard") as bar:
            for index, outcome in done(carrier, self._pieces(carrier, missing), ahead=2 * carrier.places):
                if outcome.found is None or outcome.error:
                    lost.append(str(outcome.error))
                    continue
                found = Computed.read(outcome.found)
                origin = origin or found.origin
                settings = self.task.settings
                check_origin(found.origin, origin, settings.base_model, mixed=settings.mixed_environments)
                _write(self.path(index), self._cut(index, found))
                bar.update()
        if lost:
            raise RunError(
                f"{len(lost)} of {self.number} shards did not come back from the cluster: {lost[0]} The "
                "others are kept. Run the same command again to go on."
            )

    def _pieces(self, carrier: Carrier, missing: Sequence[int]) -> Iterator[Piece[int]]:
        """A piece of work for each shard; its rows are packed when its turn comes."""
        about = carrier.put(plain_pass(self.task, "output"))
        bulk = carrier.put({"model": pack_model(self.task.base)})
        for index in missing:
            blocks = [open_block(rows) for rows in self.blocks(index)]
            yield Piece({"kind": "features", "blocks": blocks}, about, bulk, index)

    def _cut(self, index: int, found: Computed) -> Iterator[pa.Table]:
        start = 0
        for rows in self.blocks(index):
            yield self._table(rows, found.values[start : start + len(rows)], found.origin)
            start += len(rows)

    def _table(self, rows: Dataset, values: NDArray[np.float32], origin: Plain) -> pa.Table:
        """The ids of a block's rows, and their features."""
        column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), pa.float32()), values.shape[1])
        any_machine = self.task.settings.mixed_environments
        arithmetic = "of any machine" if any_machine else json.dumps(origin["arithmetic"])
        about = self.about | {"weights": origin["weights"], "arithmetic": arithmetic}
        return _described(rows["row_id"][:], column, about)


def _names(folder: Path) -> list[re.Match[str]]:
    return [found for path in folder.iterdir() if (found := _NAME.fullmatch(path.name))]


def _metadata(path: Path) -> Mapping[str, str]:
    held = pq.read_schema(path).metadata or {}
    return {name.decode(): value.decode() for name, value in held.items()}


def _check_alike(paths: Sequence[Path]) -> None:
    """Stop where shards do not go together.

    Raises:
        ConfigError: Naming their folder.
    """
    if len({str(sorted(_metadata(path).items())) for path in paths}) > 1:
        raise ConfigError(
            f"{paths[0].parent} holds shards of different data or base models, or of machines whose bits "
            "differ. Give each an own folder."
        )


def _row_groups(paths: Sequence[Path]) -> Iterator[pa.Table]:
    """The blocks of some files, one after the other."""
    _check_alike(paths)
    for path in paths:
        with path.open("rb") as stream, pq.ParquetFile(stream) as file:
            for number in range(file.num_row_groups):
                block = file.read_row_group(number)
                yield _described(block["row_id"], block["features"], _metadata(path))


def _described(row_ids: Any, features: Any, about: Mapping[str, str]) -> pa.Table:
    """A table with what decides its values, and no other notes, so that equal ones are written alike."""
    plain = features.cast(
        pa.list_(pa.float32(), features.type.list_size)
    )  # Parquet calls its numbers otherwise
    table = pa.table({"row_id": row_ids, "features": plain})
    return table.replace_schema_metadata(dict(sorted(about.items())))


def _write(path: Path, blocks: Iterable[pa.Table]) -> None:
    """Write a file whole or not at all, block by block.

    Raises:
        DiskFullError: If there is no room.
    """
    beside, rest = temporary(path), iter(blocks)
    first = next(rest)
    with enough_disk(path.parent):
        try:
            with pq.ParquetWriter(beside, first.schema) as writer:
                for block in chain([first], rest):
                    writer.write_table(block)
            sync(beside)
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
