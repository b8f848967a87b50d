"""Features of all rows from one forward pass, in a file of the cache that later commands reuse."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.layers.freezing import tensor_digest
from hf_transfer.machine.cache import StoreFolder, stores_folder
from hf_transfer.machine.devices import arithmetic_of
from hf_transfer.machine.digests import bytes_digest, json_digest
from hf_transfer.machine.files import reserve
from hf_transfer.machine.memory import in_parts
from hf_transfer.machine.progress import progress_bar
from hf_transfer.replay.batching import Batches, Positions

Ints = NDArray[np.int64]

_FULL_PRECISION = 1e9  # bytes up to which features are stored as float32
_LARGEST_HALF = 65504.0  # in float16; what is larger is stored as this


class FeaturePass:
    """A forward pass that makes tables of features, a line for each row or for each of its words.

    Args:
        model: In eval mode, on the device of the batches.
        batches: Of the encoded rows.
        chosen: Which of them.
        tensors: Names of all parameters and buffers that the features can depend on.

    Attributes:
        items: Number of lines of each chosen encoded row.
        names: Of the tables.
        parts: Names of the vectors that stand side by side in each table.
        starts: First column of each table, and one past the last.
        shape: Of all tables side by side.
    """

    items: Ints
    names: tuple[str, ...]
    parts: tuple[tuple[str, ...], ...] = ()
    starts: tuple[int, ...]
    shape: tuple[int, int]

    def __init__(self, model: nn.Module, batches: Batches, chosen: Positions, tensors: Sequence[str]) -> None:
        self.model, self.batches, self.chosen, self.tensors = model, batches, chosen, tuple(tensors)

    def sized(self, widths: Mapping[str, int]) -> None:
        """Take note of the width of each table, once `items` is known."""
        self.names = tuple(widths)
        self.starts = (0, *np.cumsum(list(widths.values())).tolist())
        self.shape = (int(self.items.sum()), self.starts[-1])

    def run(self, positions: Positions) -> dict[str, NDArray[np.float32]]:
        """Features (m, d) of each table for some encoded rows."""
        raise NotImplementedError

    def blocks(self) -> Iterator[tuple[Ints, NDArray[np.float32]]]:
        """Yield features of all rows with their positions, in batches of similar size."""
        starts = np.concatenate([[0], np.cumsum(self.items)])
        place_of = dict(zip(self.chosen.tolist(), range(len(self.chosen)), strict=True))
        blocks = self.batches.by_size(self.chosen)
        with progress_bar("features", total=len(self.chosen), unit="row") as bar:
            for block, tables in in_parts(self.run, blocks, "as features were computed"):
                own = [place_of[position] for position in block.tolist()]
                places = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in own])
                yield places, np.concatenate(list(tables.values()), axis=1)
                bar.update(len(block))


class StoredFeatures:
    """Features in a file of the cache, or in memory if the cache is full.

    Args:
        forward: Makes them.
        config: Of which `cache_gb` is used.
        cut: What `hf-transfer cache` calls them.
    """

    def __init__(self, forward: FeaturePass, config: RunConfig, cut: str) -> None:
        self.forward, self.config, self.cut = forward, config, cut
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
            "cut": self.cut,
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
            "weights": tensor_digest(forward.model, forward.tensors),
            "arithmetic": [torch.__version__, arithmetic_of(forward.batches.device), torch.get_num_threads()],
        }
        return json_digest(parts)
