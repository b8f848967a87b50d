"""Features of all rows from one forward pass, in a file of the cache that later commands reuse."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

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


@dataclass(frozen=True)
class FeatureFile:
    """A table of features in the cache.

    Attributes:
        folder: Of all such files.
        key: Of this one.
        shape: Lines, and columns.
        about: What `hf-transfer cache` says of it.
    """

    folder: StoreFolder
    key: str
    shape: tuple[int, int]
    about: Mapping[str, Any]

    @property
    def dtype(self) -> Any:
        """Of its numbers."""
        return np.float32 if self.shape[0] * self.shape[1] * 4 <= _FULL_PRECISION else np.float16

    @property
    def num_bytes(self) -> int:
        """Its size."""
        return self.shape[0] * self.shape[1] * int(np.dtype(self.dtype).itemsize)

    def read(self) -> Any:
        """The features, read where they lie; None if there are none, or not whole."""
        if not self.folder.found(self.key):
            return None
        try:
            values = np.load(self.folder.file(self.key), mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError):
            return None
        return values if (values.shape, values.dtype) == (self.shape, np.dtype(self.dtype)) else None


class FilledFeatures:
    """Features while they are computed.

    Args:
        file: Where they go; room for it has been made.
        on_disk: Whether to write the file. Without, or if it cannot be made, they stay in memory.
    """

    def __init__(self, file: FeatureFile, *, on_disk: bool = True) -> None:
        self.file, self._path = file, file.folder.unfinished(file.key)
        self.on_disk = on_disk and self._created()
        self._values: Any = (
            np.load(self._path, mmap_mode="r+", allow_pickle=False)
            if self.on_disk
            else np.empty(file.shape, file.dtype)
        )

    def write(self, lines: Ints, values: NDArray[np.float32]) -> None:
        """Write some lines."""
        half = self.file.dtype is np.float16
        self._values[lines] = np.clip(values, -_LARGEST_HALF, _LARGEST_HALF) if half else values

    def finish(self) -> Any:
        """Give the file its name, now that all lines are written; gives the values."""
        if self.on_disk:
            self._values.flush()
            self.file.folder.finish(self._path, self.file.key, self.file.about)
        return self._values

    def give_up(self) -> None:
        """Remove what was written, if it is not finished."""
        self._path.unlink(missing_ok=True)

    def _created(self) -> bool:
        """Create the file at its full size; False if that is not possible."""
        shape, dtype = self.file.shape, self.file.dtype
        try:
            array = np.lib.format.open_memmap(self._path, mode="w+", dtype=dtype, shape=shape)
            del array
            reserve(self._path)
        except OSError:
            self.give_up()
            return False
        return True


class FeaturePass:
    """A forward pass that makes tables of features, a line for each row or for each of its words.

    Args:
        model: In eval mode, on the device of the batches.
        batches: Of the encoded rows.
        chosen: Which of them.
        tensors: Names of all parameters and buffers that the features can depend on.

    Attributes:
        kind: What other machines know it by.
        items: Number of lines of each chosen encoded row.
        names: Of the tables.
        parts: Names of the vectors that stand side by side in each table.
        starts: First column of each table, and one past the last.
        shape: Of all tables side by side.
    """

    kind: ClassVar[str]
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

    def cut(self) -> list[Positions]:
        """The chosen rows in batches of similar size: what is computed together decides the last bits."""
        return self.batches.by_size(self.chosen)

    def values(self, batches: Sequence[Positions]) -> Iterator[tuple[Positions, NDArray[np.float32]]]:
        """Yield the rows of some batches, in order, with the features (m, d) of all tables side by side."""
        with progress_bar("features", total=sum(map(len, batches)), unit="row") as bar:
            for block, tables in in_parts(self.run, batches, "as features were computed"):
                yield block, np.concatenate(list(tables.values()), axis=1)
                bar.update(len(block))

    def lines(self, positions: Positions) -> Ints:
        """Where the features of some encoded rows stand among those of all that are chosen."""
        starts, place_of = self._places
        own = [place_of[position] for position in positions.tolist()]
        return np.concatenate([np.arange(starts[i], starts[i + 1]) for i in own])

    @cached_property
    def _places(self) -> tuple[Ints, dict[int, int]]:
        """The first line of each chosen row, and its place among them by its position."""
        starts = np.concatenate([[0], np.cumsum(self.items)])
        return starts, dict(zip(self.chosen.tolist(), range(len(self.chosen)), strict=True))

    @property
    def origin(self) -> dict[str, Any]:
        """What decides the values beside the rows, as plain values: equal where all bits are."""
        return {
            "features": [list(self.names), list(self.starts), [list(part) for part in self.parts]],
            "weights": tensor_digest(self.model, self.tensors),
            "arithmetic": arithmetic_here(self.batches.device),
        }


def arithmetic_here(device: torch.device) -> list[Any]:
    """What decides the last bits of a sum on a device of this machine, as plain values."""
    return [str(torch.__version__), arithmetic_of(device), torch.get_num_threads()]


class StoredFeatures:
    """Features in a file of the cache, or in memory if the cache is full.

    Args:
        forward: Makes them.
        config: Of which `cache_gb` is used, and whether machines of several kinds may make them.
        cut: What `hf-transfer cache` calls them.

    Attributes:
        origin: What decides the values beside the rows.
        file: Where they are.
    """

    def __init__(self, forward: FeaturePass, config: RunConfig, cut: str) -> None:
        self.forward, self.config, self.origin = forward, config, forward.origin
        about = {
            "base_model": config.base_model + (", random weights" if config.from_scratch else ""),
            "dataset": config.dataset,
            "cut": cut,
            "rows": forward.shape[0],
        }
        folder = StoreFolder(stores_folder(), config.cache_gb * 1e9)
        self.file = FeatureFile(folder, self._key(), forward.shape, about)

    @property
    def of_any_machine(self) -> bool:
        """Whether machines that compute other bits than this one may make them."""
        return self.config.engine != "here" and self.config.mixed_environments

    def found_or_made(self) -> tuple[Any, bool]:
        """Load or compute the values (m, sum of widths); True if they were loaded."""
        values = self.found()
        return (self._made(), False) if values is None else (values, True)

    def found(self) -> Any:
        """The stored values; None if there are none, or the model does not reproduce them."""
        values = self.file.read()
        if values is None or not self._agrees(values):
            return None
        self.file.folder.used(self.file.key)
        return values

    def _agrees(self, values: Any) -> bool:
        """Whether the model reproduces the first stored row, up to rounding."""
        wanted = np.concatenate(list(self.forward.run(self.forward.chosen[:1]).values()), axis=1)
        found = np.asarray(values[: len(wanted)], np.float32)
        near = 1e-3 if self.file.dtype is np.float32 and not self.of_any_machine else 5e-2
        return bool(
            np.allclose(found, wanted, rtol=near, atol=near * max(1e-3, float(np.abs(wanted).max(initial=0))))
        )

    def _made(self) -> Any:
        has_room = self.file.folder.make_room(self.file.num_bytes) is None
        filled = FilledFeatures(self.file, on_disk=has_room)
        for positions, values in self.forward.values(self.forward.cut()):
            filled.write(self.forward.lines(positions), values)
        return filled.finish()

    def _key(self) -> str:
        """Cache key: equal for the same rows, weights and arithmetic."""
        parts: dict[str, Any] = {
            "features": self.origin["features"],
            "encoded": self.forward.batches.encoded._fingerprint,
            "rows": bytes_digest(self.forward.chosen.tobytes()),
            "weights": self.origin["weights"],
            "arithmetic": "of any machine" if self.of_any_machine else self.origin["arithmetic"],
        }
        return json_digest(parts)
