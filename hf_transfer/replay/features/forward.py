"""Pooled features of every layer group for all rows, computed once and stored."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.folds.order import derive_seed
from hf_transfer.layers.freezing import tensor_digest
from hf_transfer.machine.cache import StoreFolder, stores_folder
from hf_transfer.machine.devices import placed
from hf_transfer.machine.digests import bytes_digest, json_digest
from hf_transfer.machine.files import reserve
from hf_transfer.machine.progress import progress_bar
from hf_transfer.replay.batching import Batch, Batches, Positions
from hf_transfer.replay.features.outputs import GroupOutputs, Output, below_output
from hf_transfer.tasks.task import Task

if TYPE_CHECKING:
    from datasets import Dataset

Ints = NDArray[np.int64]

_FULL_PRECISION = 1e9  # bytes up to which features are stored as float32
_LARGEST_HALF = 65504.0  # in float16; what is larger is stored as this


@dataclass(frozen=True, eq=False)
class LayerFeatures:
    """Features of each layer group, for the same rows.

    Attributes:
        groups: Names from the input to the output. The last is `head` where the model has pretrained
            layers between its last block and its output layer.
        row_of: The data row of each row of the features, (m,): for words their sentence's.
        reused: Whether they were found stored.
        seconds: To compute, or to find them.
        num_parameters: Of the model, with a head for the labels.
    """

    groups: tuple[str, ...]
    row_of: Ints
    reused: bool
    seconds: float
    num_parameters: int
    _values: Any
    _starts: tuple[int, ...]
    _parts: tuple[tuple[str, ...], ...]

    def __getitem__(self, group: str) -> NDArray[np.float32]:
        """Features of one group, (m, d) in float32."""
        place = self.groups.index(group)
        return np.ascontiguousarray(
            self._values[:, self._starts[place] : self._starts[place + 1]], dtype=np.float32
        )

    def tables(self) -> Iterator[tuple[str, str | None, NDArray[np.float32]]]:
        """Yield each group's features; for texts one table by a token and one by the mean."""
        for group, parts in zip(self.groups, self._parts, strict=True):
            values = self[group]
            if not parts:
                yield group, None, values
            for name, table in zip(parts, np.split(values, max(1, len(parts)), axis=1), strict=False):
                yield group, name, np.ascontiguousarray(table)

    def depth(self, group: str) -> float:
        """Relative depth of a group: 0 is the first, 1 the last."""
        return self.groups.index(group) / max(1, len(self.groups) - 1)


def layer_features(
    task: Task,
    encoded: "Dataset",
    config: RunConfig,
    accelerator: Accelerator,
    *,
    rows: Ints | None = None,
) -> LayerFeatures:
    """Run the frozen model once over all rows, in eval mode and without augmentation.

    Computed in float32 and stored as such up to 1 GB; beyond, as float16, in which larger values
    than 65504 are cut. Stored beside what frozen layers put out, by the digest of the weights and of
    the encoded rows, within `cache_gb`; where there is no room, they stay in memory.

    Args:
        task: Builds the model. With `from_scratch` its random weights follow from the seed.
        encoded: What `encode_rows` made.
        config: Of which `seed` and `cache_gb` are used.
        accelerator: Of which the device is used.
        rows: Data rows to compute, all when not given.

    Raises:
        ModelError: If the model cannot be built.
    """
    began = time.monotonic()
    batches = Batches(task, encoded, accelerator.device)
    chosen = np.arange(len(encoded)) if rows is None else batches.positions_of(rows)
    model, is_head_pretrained = _built(task, config, accelerator)
    forward = _Forward(model, batches, task, chosen, head=is_head_pretrained)
    values, reused = _Stored(forward, config).found_or_made()
    return LayerFeatures(
        groups=forward.names,
        row_of=np.repeat(batches.row_of[chosen], forward.items),
        reused=reused,
        seconds=time.monotonic() - began,
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        _values=values,
        _starts=forward.starts,
        _parts=forward.parts,
    )


def _built(task: Task, config: RunConfig, accelerator: Accelerator) -> tuple[nn.Module, bool]:
    """Build the model, and tell whether its head has pretrained layers before the last."""
    seeds = (derive_seed(config.seed, "features", i) for i in range(2))
    torch.manual_seed(next(seeds))
    model = task.build_model()
    before = below_output(model, len(task.label_names))
    is_head_pretrained = bool(before)
    if before and task.base.has_weights and not config.from_scratch:
        # What another seed changes is new, and random layers would pass for pretrained ones.
        torch.manual_seed(next(seeds))
        is_head_pretrained = tensor_digest(task.build_model(), before) == tensor_digest(model, before)
    return placed(model, accelerator.device).eval(), is_head_pretrained


class _Forward:
    """A forward pass over encoded rows, pooled for each group."""

    def __init__(
        self, model: nn.Module, batches: Batches, task: Task, chosen: Positions, *, head: bool
    ) -> None:
        self.model, self.batches, self.chosen = model, batches, chosen
        self.outputs = GroupOutputs(model, len(task.label_names), head=head)
        self.pool = task.input.pooling(model)
        self.items = self._items(task)
        found, batch = self._outputs(chosen[:1])
        self.names = tuple(found)
        self.parts = tuple(self.pool.parts(output) for output in found.values())
        widths = [self.pool(output, batch).shape[1] for output in found.values()]
        self.starts = (0, *np.cumsum(widths).tolist())
        self.shape = (int(self.items.sum()), self.starts[-1])

    def _items(self, task: Task) -> Ints:
        """Number of feature rows of each encoded row: one, or one a tagged word."""
        labels = self.batches.encoded.select_columns(["labels"])[self.chosen]["labels"]
        return task.target.num_items(labels)

    def run(self, positions: Positions) -> dict[str, NDArray[np.float32]]:
        """Features (m, d) of each group for some encoded rows."""
        found, batch = self._outputs(positions)
        return {name: self.pool(output, batch).float().cpu().numpy() for name, output in found.items()}

    @torch.inference_mode()
    def _outputs(self, positions: Positions) -> tuple[dict[str, Output], Batch]:
        """Outputs of each group for some encoded rows, and the batch itself."""
        batch = self.batches.collate(positions)
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        with self.outputs.recorded() as found:
            self.model(**inputs)
        return {name: found[name] for name in (*self.outputs.ends, "head") if name in found}, batch

    def blocks(self) -> Iterator[tuple[Ints, NDArray[np.float32]]]:
        """Yield features of all rows with their positions, in batches of similar size."""
        starts = np.concatenate([[0], np.cumsum(self.items)])
        place_of = dict(zip(self.chosen.tolist(), range(len(self.chosen)), strict=True))
        blocks = self.batches.by_size(self.chosen)
        with progress_bar("features", total=len(blocks), unit="batch") as bar:
            for block in blocks:
                own = [place_of[position] for position in block.tolist()]
                places = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in own])
                yield places, np.concatenate(list(self.run(block).values()), axis=1)
                bar.update()


class _Stored:
    """Features in a file of the cache, or in memory if the cache is full."""

    def __init__(self, forward: _Forward, config: RunConfig) -> None:
        self.forward, self.config = forward, config
        self.folder = StoreFolder(stores_folder(), config.cache_gb * 1e9)
        numbers = int(np.prod(forward.shape))
        self.dtype: Any = np.float32 if numbers * 4 <= _FULL_PRECISION else np.float16
        self.num_bytes = numbers * np.dtype(self.dtype).itemsize

    def found_or_made(self) -> tuple[Any, bool]:
        """Load or compute the values (m, sum of widths); True if they were loaded."""
        key = self._key()
        values = self._found(key)
        if values is not None:
            self.folder.used(key)
            return values, True
        return self._made(key), False

    def _found(self, key: str) -> Any:
        if not self.folder.found(key):
            return None
        try:
            values = np.load(self.folder.file(key), mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError):
            return None
        if (values.shape, values.dtype) != (self.forward.shape, np.dtype(self.dtype)):
            return None
        return values if self._agrees(values) else None

    def _agrees(self, values: Any) -> bool:
        """Whether the model reproduces the first stored row, up to rounding."""
        wanted = np.concatenate(list(self.forward.run(self.forward.chosen[:1]).values()), axis=1)
        found = np.asarray(values[: len(wanted)], np.float32)
        near = 1e-3 if self.dtype is np.float32 else 5e-2
        return bool(
            np.allclose(found, wanted, rtol=near, atol=near * max(1e-3, float(np.abs(wanted).max(initial=0))))
        )

    def _made(self, key: str) -> Any:
        part = self._created(key)
        values: Any = (
            np.empty(self.forward.shape, self.dtype)
            if part is None
            else np.load(part, mmap_mode="r+", allow_pickle=False)
        )
        for places, block in self.forward.blocks():
            values[places] = (
                np.clip(block, -_LARGEST_HALF, _LARGEST_HALF) if self.dtype is np.float16 else block
            )
        if part is None:
            return values
        values.flush()
        about = {
            "base_model": self.config.base_model + (", random weights" if self.config.from_scratch else ""),
            "dataset": self.config.dataset,
            "cut": "every layer group, pooled",
            "rows": self.forward.shape[0],
        }
        self.folder.finish(part, key, about)
        return values

    def _created(self, key: str) -> Path | None:
        """Create the file at its full size; None if there is no room."""
        part = self.folder.unfinished(key)
        try:
            if self.folder.make_room(self.num_bytes):
                return None
            array = np.lib.format.open_memmap(part, mode="w+", dtype=self.dtype, shape=self.forward.shape)
            del array
            reserve(part)
        except OSError:
            part.unlink(missing_ok=True)
            return None
        return part

    def _key(self) -> str:
        """Cache key: equal for the same rows, weights and arithmetic."""
        forward = self.forward
        parts: dict[str, Any] = {
            "features": [list(forward.names), list(forward.starts), forward.parts],
            "encoded": forward.batches.encoded._fingerprint,
            "rows": bytes_digest(forward.chosen.tobytes()),
            "weights": tensor_digest(forward.model, forward.outputs.tensors),
            "arithmetic": [torch.__version__, forward.batches.device.type, torch.get_num_threads()],
        }
        return json_digest(parts)
