"""Checkpoints on disk, from which a killed training resumes.

A checkpoint is a folder that gets its name when all of it is on the disk: tensors as safetensors, the
rest as JSON, and a manifest of sizes and digests by which a damaged one is recognised. No pickle.
"""

import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from hf_transfer import _guard  # noqa: F401
from hf_transfer.layers.shards import is_shard, read_shards
from hf_transfer.machine.digests import file_digest
from hf_transfer.machine.files import new_folder, remove_stale, write_json

_TENSORS, _VALUES, _MANIFEST = "state.safetensors", "state.json", "manifest.json"
_NAME = re.compile(r"step-(\d{8})")


@dataclass(frozen=True)
class State:
    """Everything a training needs to resume.

    Attributes:
        step: Updates done.
        values: What JSON can hold.
        tensors: The rest, on a processor; shards are where they are.
        folder: Where it was read from.
    """

    step: int
    values: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    folder: Path | None = None

    @property
    def whole(self) -> dict[str, torch.Tensor]:
        """The tensors that are no shards."""
        return {name: tensor.contiguous() for name, tensor in self.tensors.items() if not is_shard(tensor)}

    @property
    def num_bytes(self) -> int:
        """Size of the whole tensors in bytes."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.whole.values())

    def shards(self, like: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Read those of some shards that it has, laid out as these; all processes must call this."""
        wanted = {name: like[name] for name in self.values.get("shards", ()) if name in like}
        return read_shards(self.folder, wanted) if wanted and self.folder else {}


class DamagedError(Exception):
    """A checkpoint does not match its manifest."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training.

    Attributes:
        folder: Which holds them and nothing else.
        identity: Digest of all that decides the training; those of another training are not taken.
        minutes: Of training that may be lost when the run is killed.
    """

    folder: Path
    identity: str
    minutes: float

    @property
    def shards(self) -> Path:
        """Folder where all processes write their shards, from which `save` takes them."""
        return self.folder / ".shards"

    def save(self, state: State) -> None:
        """Write a checkpoint, then remove the older ones.

        Where there are shards, they have been written: `write_shards`.

        Raises:
            DiskFullError: If there is no room; the one before is still there.
        """
        with new_folder(self.folder / f"step-{state.step:08d}", state.num_bytes) as beside:
            whole = state.whole
            save_file(whole, beside / _TENSORS)
            shards = [name for name in state.tensors if name not in whole]
            for file in self.shards.iterdir() if shards else ():
                file.rename(beside / file.name)
            about = {"identity": self.identity, "step": state.step} | ({"shards": shards} if shards else {})
            write_json(beside / _VALUES, about | state.values)
            files = {path.name: _measured(path) for path in beside.iterdir()}
            write_json(beside / _MANIFEST, {"files": files})
        for path in list(self._found())[1:]:
            shutil.rmtree(path, ignore_errors=True)

    def load(self) -> State | None:
        """Read the newest intact checkpoint of this training; report damaged ones."""
        remove_stale(self.folder)
        for path in self._found():
            try:
                state = _read(path)
            except DamagedError as error:
                print(f"{path} is damaged ({error}) and left out.", file=sys.stderr)
                continue
            if state.values.pop("identity") == self.identity:
                return state
        return None

    def _found(self) -> Iterator[Path]:
        """Checkpoint folders, latest step first (clocks may go back, steps do not)."""
        paths = [path for path in self.folder.glob("step-*") if _NAME.fullmatch(path.name)]
        yield from sorted(paths, reverse=True)


def _measured(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": file_digest(path)}


def _read(path: Path) -> State:
    """Check a checkpoint's files against the manifest, and read it."""
    try:
        manifest = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))["files"]
        for name in {_TENSORS, _VALUES, *manifest}:
            if _measured(path / name) != manifest[name]:
                raise DamagedError(f"{name} is not what was written")
        values = json.loads((path / _VALUES).read_text(encoding="utf-8"))
        return State(values.pop("step"), values, load_file(path / _TENSORS), path)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise DamagedError(f"{type(error).__name__}: {error}") from error
