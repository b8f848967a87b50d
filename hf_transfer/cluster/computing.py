"""Features as a piece of work: what is sent of a pass over rows, what a node does, and what it gives back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from accelerate import Accelerator
from datasets import Dataset
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cluster.desk import desk
from hf_transfer.cluster.handing import Plain
from hf_transfer.cluster.parcel import Bytes, check_carried, pack_rows, plain_task, read_rows, read_task
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ConfigError
from hf_transfer.machine.digests import json_digest
from hf_transfer.machine.wording import count
from hf_transfer.replay.batching import Batches, Positions
from hf_transfer.replay.encoding import encode_values
from hf_transfer.replay.features.forward import layer_pass
from hf_transfer.replay.features.output_inputs import output_pass
from hf_transfer.replay.features.stored import FeaturePass
from hf_transfer.tasks.task import Task
from hf_transfer.training.workers import make_accelerator

MOST_ROWS = 4096  # of a block, which one piece of work computes as one

_PASSES: Mapping[str, Callable[[Task, Dataset, RunConfig, Accelerator], FeaturePass]] = {
    "layers": layer_pass,
    "output": output_pass,
}


def plain_pass(task: Task, kind: str) -> Plain:
    """A pass as plain data: small, and the same for all of its rows.

    Args:
        task: Builds the model.
        kind: What is read of it: `layers` or `output`.

    Raises:
        ConfigError: If the task is somebody's own class, which other machines do not have.
    """
    check_carried(task)
    about = plain_task(task) | {"pass": kind}
    return about | {"key": json_digest(about)}


def encoded_block(encoded: Dataset, batches: Sequence[Positions]) -> Plain:
    """Encoded rows as plain data, which a node runs in these batches."""
    chosen = encoded.select(np.concatenate(batches))
    return {"rows": pack_rows(chosen), "batches": [len(batch) for batch in batches]}


def open_block(rows: Dataset) -> Plain:
    """Rows as plain data, which a node encodes and runs in batches of its own."""
    return {"rows": pack_rows(rows.select_columns(["input"])), "batches": None}


@dataclass(frozen=True)
class Computed:
    """Features that came back.

    Attributes:
        values: Of the rows of all blocks, in their order, (m, d).
        origin: What decides them beside the rows: see `FeaturePass.origin`.
    """

    values: NDArray[np.float32]
    origin: Plain

    @classmethod
    def read(cls, found: Plain) -> "Computed":
        """Read what `compute_features` gave."""
        width = found["origin"]["features"][1][-1]
        return cls(np.frombuffer(found["values"], np.float32).reshape(-1, width), found["origin"])


def check_origin(origin: Plain, wanted: Plain, base_model: str, *, mixed: bool) -> None:
    """Refuse features whose bits are not those of another machine, unless that is allowed.

    Args:
        origin: What decides the features of one machine.
        wanted: The same of the other.
        base_model: As it was given.
        mixed: Whether machines may compute in different ways; weights must be the same then too.

    Raises:
        ConfigError: Naming both ways.
    """
    if {**origin, "arithmetic": None} != {**wanted, "arithmetic": None}:
        raise ConfigError(
            f"base_model={base_model!r} has other weights on a node than elsewhere. Give its --revision, and "
            "install the same versions of the libraries on all machines."
        )
    if origin["arithmetic"] != wanted["arithmetic"] and not mixed:
        ways = [f"by {count(n, 'thread')} on {device} with torch {v}" for v, device, n in
                (origin["arithmetic"], wanted["arithmetic"])]  # fmt: skip
        raise ConfigError(
            f"Features of {base_model} were computed {ways[0]}, and others {ways[1]}: their bits differ. Let "
            "the engine see nodes like this machine only, or pass --mixed_environments."
        )


def compute_features(order: Plain, about: Plain, bulk: Plain) -> Plain:
    """Run a model over the rows of some blocks; gives the features, and what decides them beside the rows."""
    own = desk()
    kept: _Opened = own.kept(
        about["key"], lambda: _Opened(read_task(about, bulk["model"], own.folder, own.models))
    )
    found = [kept.features(about["pass"], block) for block in order["blocks"]]
    return {"values": _as_bytes(np.concatenate(found)), "origin": kept.origin}


class _Opened:
    """A model that came with the last work, ready for other rows."""

    def __init__(self, task: Task) -> None:
        self.task, self.accelerator = task, make_accelerator(task.settings)
        self.forward: FeaturePass | None = None
        self.origin: Plain = {}

    def features(self, kind: str, block: Plain) -> NDArray[np.float32]:
        """Features of the rows of a block, in their order."""
        rows = read_rows(block["rows"])
        is_open = block["batches"] is None
        forward = self._over(kind, encode_values(self.task, rows["input"][:]) if is_open else rows)
        everything = np.arange(len(forward.batches.encoded))
        if is_open:
            batches = forward.batches.by_size(everything)
        else:
            batches = np.split(everything, np.cumsum(block["batches"])[:-1])
        values = np.concatenate([found for _, found in forward.values(batches)])
        if is_open:
            values[np.concatenate(batches)] = values.copy()
        return values

    def _over(self, kind: str, encoded: Dataset) -> FeaturePass:
        """The pass over some encoded rows, with the model of the rows before."""
        if self.forward is None:
            self.forward = _PASSES[kind](self.task, encoded, self.task.settings, self.accelerator)
            self.origin = self.forward.origin
        self.forward.batches = Batches(self.task, encoded, self.accelerator.device)
        return self.forward


def _as_bytes(values: NDArray[np.float32]) -> Bytes:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)
