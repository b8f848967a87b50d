"""Stored features of the frozen layers, in a memory-mapped file that later runs reuse."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.devices import on_processor
from hf_transfer.machine.files import reserve
from hf_transfer.machine.memory import if_it_fits, keep_for_speed
from hf_transfer.replay.shapes import Shape

_NUMPY = {torch.float32: np.float32, torch.float16: np.float16, torch.bfloat16: np.uint16}
_BYTES_AT_ONCE = 2**26  # of features on their way from a device

Ints = NDArray[np.int64]


class FeatureStore:
    """The tensor that enters the cut, for each encoded row and each augmented view.

    Rows of tokens lie one after the other without padding.

    Args:
        path: Of the file, an array (views, items, …); items are rows, or tokens of all rows.
        shape: Of the tensor for a batch.
        sizes: Tokens of each encoded row.
        num_views: Versions of each row: the plain one, then the augmented ones.
        writable: Whether to write to it.

    Raises:
        ValueError: If the file is cut off, or made for other rows.
    """

    def __init__(
        self, path: Path, shape: Shape, sizes: Ints, num_views: int = 1, *, writable: bool = False
    ) -> None:
        self.path, self.shape, self.sizes = path, shape, sizes
        self.offsets = np.concatenate([[0], np.cumsum(sizes if shape.by_token else np.ones_like(sizes))])
        self.array: Any = np.load(path, mmap_mode="r+" if writable else "r", allow_pickle=False)
        expected = (store_shape(shape, sizes, num_views), np.dtype(_NUMPY[shape.dtype]))
        if (self.array.shape, self.array.dtype) != expected:
            raise ValueError(f"{path} has another shape or type")
        self.on_device: Tensor | None = None

    @property
    def num_bytes(self) -> int:
        """Size of all features."""
        return int(self.array.nbytes)

    def load_to(self, device: torch.device) -> None:
        """Load all features to the device's memory; they stay on the disk if they do not fit after all."""
        otherwise = "Memory ran out for stored features on the device: they are read from disk."
        self.on_device = if_it_fits(lambda: self._tensor(np.array(self.array)).to(device), otherwise)
        keep_for_speed(self)

    def let_go(self) -> bool:
        """Free the device's copy, and read the file from now on; True if there was a copy."""
        held, self.on_device = self.on_device, None
        return held is not None

    def write(self, positions: Ints, features: Tensor, view: int = 0) -> None:
        """Write the features of some rows, (b, …) or padded (b, l, …)."""
        values = _as_numpy(features)
        for row, position in zip(values, positions.tolist(), strict=True):
            unpadded = row[: self.sizes[position]] if self.shape.by_token else row[None]
            self.array[view, self.offsets[position] : self.offsets[position + 1]] = unpadded

    def read(self, positions: Ints, views: Ints) -> Tensor:
        """Read the features of some rows, (b, …); token rows are zero-padded to the longest, (b, l, …)."""
        if not self.shape.by_token:
            if self.on_device is not None:
                at = _moved(np.stack([views, positions]), self.on_device)
                return self.on_device[at[0], at[1]]
            return self._tensor(self.array[views, positions])
        sizes = self.sizes[positions]
        inside = np.arange(sizes.max()) < sizes[:, None]
        items = np.where(inside, self.offsets[positions][:, None] + np.arange(sizes.max()), 0)
        if self.on_device is not None:
            taken = self.on_device[_moved(views[:, None], self.on_device), _moved(items, self.on_device)]
            return taken.masked_fill(_moved(~inside, self.on_device).unsqueeze(-1), 0)
        values = np.zeros((*inside.shape, *self.array.shape[2:]), self.array.dtype)
        values[inside] = self.array[np.broadcast_to(views[:, None], inside.shape)[inside], items[inside]]
        return self._tensor(values)

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).view(self.shape.dtype)

    def flush(self) -> None:
        """Flush written features to the disk."""
        self.array.flush()


class BlockWriter:
    """Writes features of many batches after one wait for the device, which computes on until then.

    Args:
        store: Where to.
        device: Where they are computed.
        num_bytes: After so many the device is waited for.
    """

    def __init__(self, store: FeatureStore, device: torch.device, num_bytes: int = _BYTES_AT_ONCE) -> None:
        self.store, self.device, self.most = store, device, num_bytes
        self._on_their_way: list[tuple[Ints, Tensor, int]] = []

    def write(self, positions: Ints, features: Tensor, view: int) -> None:
        """Write the features of some rows, at once if the processor computes them."""
        # From CUDA PyTorch copies to pinned memory then, which takes no time of the host's.
        self._on_their_way.append((positions, features.detach().to("cpu", non_blocking=True), view))
        held = sum(tensor.nbytes for _, tensor, _ in self._on_their_way)
        if on_processor(self.device) or held >= self.most:
            self.finish()

    def finish(self) -> None:
        """Wait for what is on its way, and write it."""
        if self._on_their_way and not on_processor(self.device):
            torch.accelerator.synchronize(self.device)
        for positions, features, view in self._on_their_way:
            self.store.write(positions, features, view)
        self._on_their_way.clear()


def store_shape(shape: Shape, sizes: Ints, num_views: int) -> tuple[int, ...]:
    """Shape of a store's array."""
    items = int(sizes.sum()) if shape.by_token else len(sizes)
    return (num_views, items, *(number for number, *_ in shape.dims[2 if shape.by_token else 1 :]))


def store_bytes(shape: Shape, sizes: Ints, num_views: int) -> int:
    """Size of a store in bytes."""
    numbers = int(np.prod(store_shape(shape, sizes, num_views), dtype=np.int64))
    return numbers * np.dtype(_NUMPY[shape.dtype]).itemsize


def create_store(path: Path, shape: Shape, sizes: Ints, num_views: int) -> None:
    """Create a store's file at its full size, with its disk space allocated."""
    path.parent.mkdir(parents=True, exist_ok=True)
    full = store_shape(shape, sizes, num_views)
    array = np.lib.format.open_memmap(path, mode="w+", dtype=_NUMPY[shape.dtype], shape=full)
    del array
    reserve(path)


def _moved(values: NDArray[Any], to: Tensor) -> Tensor:
    """Move an array to a tensor's device without waiting."""
    return torch.from_numpy(values).to(to.device, non_blocking=True)


def _as_numpy(features: Tensor) -> NDArray[Any]:
    features = features.detach().cpu().contiguous()
    if features.dtype == torch.bfloat16:
        features = features.view(torch.uint16)
    return features.numpy()
