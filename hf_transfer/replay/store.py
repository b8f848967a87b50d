"""Stored tensors of the frozen part, one a row: a memory-mapped file that later runs find again."""

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hf_transfer import _guard  # noqa: F401
from hf_transfer.replay.shapes import Shape
from hf_transfer.results import write_json

_NUMPY = {torch.float32: np.float32, torch.float16: np.float16, torch.bfloat16: np.uint16}

Ints = NDArray[np.int64]


class FeatureStore:
    """The tensor that enters the cut, for each encoded row and each view of it.

    Rows of tokens lie one after the other without padding.

    Args:
        path: Of the file, an array (views, items, …); items are rows, or tokens of all rows.
        shape: Of the tensor for a batch.
        sizes: Tokens of each encoded row.
        num_views: Versions of each row: the plain one, then the augmented ones.
        writable: Whether to write to it.
    """

    def __init__(
        self, path: Path, shape: Shape, sizes: Ints, num_views: int = 1, *, writable: bool = False
    ) -> None:
        self.path, self.shape, self.sizes = path, shape, sizes
        self.offsets = np.concatenate([[0], np.cumsum(sizes if shape.by_token else np.ones_like(sizes))])
        self.array: Any = np.load(path, mmap_mode="r+" if writable else "r", allow_pickle=False)
        if self.array.shape != store_shape(shape, sizes, num_views):
            raise ValueError(f"{path} has another shape")
        self.on_device: Tensor | None = None

    @property
    def num_bytes(self) -> int:
        """Size of all features."""
        return int(self.array.nbytes)

    def load_to(self, device: torch.device) -> None:
        """Keep all features in the device's memory."""
        self.on_device = self._tensor(np.array(self.array)).to(device)

    def write(self, positions: Ints, features: Tensor, view: int = 0) -> None:
        """Keep the features of some rows, (b, …) or padded (b, l, …)."""
        values = _as_numpy(features)
        for row, position in zip(values, positions.tolist(), strict=True):
            kept = row[: self.sizes[position]] if self.shape.by_token else row[None]
            self.array[view, self.offsets[position] : self.offsets[position + 1]] = kept

    def read(self, positions: Ints, views: Ints) -> Tensor:
        """The features of some rows, (b, …); rows of tokens padded with zeros to the longest, (b, l, …)."""
        if not self.shape.by_token:
            if self.on_device is not None:
                at = torch.from_numpy(np.stack([views, positions])).to(self.on_device.device)
                return self.on_device[at[0], at[1]]
            return self._tensor(self.array[views, positions])
        sizes = self.sizes[positions]
        inside = np.arange(sizes.max()) < sizes[:, None]
        items = np.where(inside, self.offsets[positions][:, None] + np.arange(sizes.max()), 0)
        if self.on_device is not None:
            device = self.on_device.device
            taken = self.on_device[
                torch.from_numpy(views).to(device)[:, None], torch.from_numpy(items).to(device)
            ]
            return taken.masked_fill(~torch.from_numpy(inside).to(device).unsqueeze(-1), 0)
        values = np.zeros((*inside.shape, *self.array.shape[2:]), self.array.dtype)
        values[inside] = self.array[np.broadcast_to(views[:, None], inside.shape)[inside], items[inside]]
        return self._tensor(values)

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).view(self.shape.dtype)

    def flush(self) -> None:
        """Put what was written on the disk."""
        self.array.flush()


def store_shape(shape: Shape, sizes: Ints, num_views: int) -> tuple[int, ...]:
    """The shape of a store's array."""
    items = int(sizes.sum()) if shape.by_token else len(sizes)
    return (num_views, items, *(number for number, *_ in shape.dims[2 if shape.by_token else 1 :]))


def store_bytes(shape: Shape, sizes: Ints, num_views: int) -> int:
    """Bytes that a store takes."""
    numbers = int(np.prod(store_shape(shape, sizes, num_views), dtype=np.int64))
    return numbers * np.dtype(_NUMPY[shape.dtype]).itemsize


def create_store(path: Path, shape: Shape, sizes: Ints, num_views: int) -> None:
    """Make the file of a store, to be filled; it takes its disk space at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    full = store_shape(shape, sizes, num_views)
    array = np.lib.format.open_memmap(path, mode="w+", dtype=_NUMPY[shape.dtype], shape=full)
    del array
    with path.open("r+b") as stream:
        os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)  # a full disk is an error here, not later


@dataclass(frozen=True)
class StoreFolder:
    """Where stores lie, and how much they may take together.

    Attributes:
        path: The folder.
        limit: Bytes.
    """

    path: Path
    limit: float

    def file(self, key: str) -> Path:
        """The file of a finished store."""
        return self.path / f"{key}.npy"

    def unfinished(self, key: str) -> Path:
        """The file of a store that this process is writing."""
        return self.path / f".{key}.{os.getpid()}.npy"

    def finish(self, part: Path, key: str, about: Mapping[str, Any]) -> None:
        """Give a written store its name: from now on it is whole."""
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        write_json(self.path / f"{key}.json", dict(about) | {"created": time.time()})
        part.replace(self.file(key))

    def used(self, key: str) -> None:
        """Remember that a store was used now: the one unused for longest goes first."""
        os.utime(self.file(key))

    def make_room(self, needed: float) -> str | None:
        """Remove stores unused for longest until there is room; says why if there is none."""
        self.path.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.path).free
        if needed > self.limit:
            return f"they take {needed / 1e9:.1f} GB, more than cache_gb={self.limit / 1e9:g}"
        for entry in self.entries():
            if not entry.finished and not _alive(entry.path):
                entry.path.unlink(missing_ok=True)
        kept = [entry for entry in self.entries() if entry.finished]
        while kept and sum(entry.num_bytes for entry in kept) + needed > self.limit:
            free += kept[0].num_bytes
            kept.pop(0).remove()
        if needed > 0.9 * free:
            return f"they take {needed / 1e9:.1f} GB, and only {free / 1e9:.1f} GB of disk are free"
        return None

    def entries(self) -> list["StoreEntry"]:
        """All stores, the one unused for longest first."""
        files = [path for path in self.path.glob("*.npy") if path.is_file()]
        files += [path for path in self.path.glob(".*.npy") if path.is_file()]
        return sorted(map(StoreEntry, set(files)), key=lambda entry: entry.last_used)


@dataclass(frozen=True)
class StoreEntry:
    """One file among the stores."""

    path: Path

    @property
    def finished(self) -> bool:
        """Whether it was written to its end."""
        return not self.path.name.startswith(".")

    @property
    def num_bytes(self) -> int:
        """Its size."""
        return self.path.stat().st_size

    @property
    def last_used(self) -> float:
        """When it was last used, in seconds since 1970."""
        return self.path.stat().st_mtime

    @property
    def about(self) -> dict[str, Any]:
        """What it holds; empty when that is not known."""
        try:
            found = json.loads(self.path.with_suffix(".json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def remove(self) -> None:
        """Delete it. A run that reads it keeps what it has opened."""
        self.path.unlink(missing_ok=True)
        self.path.with_suffix(".json").unlink(missing_ok=True)


def _alive(part: Path) -> bool:
    """Whether the process that writes an unfinished store still runs on this machine."""
    import psutil

    number = part.stem.rpartition(".")[2]
    return number.isdigit() and psutil.pid_exists(int(number))


def _as_numpy(features: Tensor) -> NDArray[Any]:
    features = features.detach().cpu().contiguous()
    if features.dtype == torch.bfloat16:
        features = features.view(torch.uint16)
    return features.numpy()
