"""Batches of encoded rows."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import ref

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.devices import on_processor
from hf_transfer.machine.memory import fits_on_device, if_it_fits, keep_for_speed

if TYPE_CHECKING:
    from datasets import Dataset

    from hf_transfer.tasks.task import Task

Positions = NDArray[np.int64]
Batch = dict[str, Tensor]

_ROWS_AT_ONCE = 64  # on their way to a GPU that keeps all


class DeviceCopy:
    """A GPU's copy of some rows, without their labels; a process has one copy at a time.

    Attributes:
        inputs: All rows as the task stacks them; None while they are read from disk.
        allowed: Whether to have one; not after memory was short.
    """

    _last: "ClassVar[ref[DeviceCopy] | None]" = None

    def __init__(self) -> None:
        self.inputs: Batch | None = None
        self.allowed = True

    def replace_others(self) -> None:
        """Give back the copy of other rows: those of the study before, say."""
        last = DeviceCopy._last() if DeviceCopy._last is not None else None
        if last is not None and last is not self:
            last.inputs = None
        DeviceCopy._last = ref(self)

    def let_go(self) -> bool:
        """Give the copy up for good, as memory is short; True if there was one."""
        inputs, self.inputs, self.allowed = self.inputs, None, False
        return inputs is not None


class Batches:
    """Batches of encoded rows, on the device where they are used.

    Args:
        task: Collates.
        encoded: What the task's `encode` made; several encoded rows may belong to one row.
        device: Where the batches go.
        device_copy: What batches of the same rows under other labels share on the device.
    """

    def __init__(
        self, task: "Task", encoded: "Dataset", device: torch.device, device_copy: "DeviceCopy | None" = None
    ) -> None:
        self.task = task
        self.encoded = encoded
        self.device = device
        self.device_copy = device_copy or DeviceCopy()

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Number of tokens of each encoded row, by which batches are padded; 0 for a picture."""
        return np.asarray(self.encoded["size"][:], np.int64)

    @cached_property
    def alike(self) -> NDArray[np.int64] | None:
        """A number of each encoded row, of which only equal ones are stacked; None where all may be."""
        if "alike" not in self.encoded.column_names:
            return None
        return np.asarray(self.encoded["alike"][:], np.int64)

    @cached_property
    def row_of(self) -> NDArray[np.int64]:
        """The row that each encoded row comes from."""
        return np.asarray(self.encoded["row"][:], np.int64)

    def positions_of(self, rows: NDArray[np.int64]) -> Positions:
        """Positions of the encoded rows that come from some rows, in order."""
        return np.flatnonzero(np.isin(self.row_of, rows)).astype(np.int64)

    def learner(self, model: nn.Module) -> nn.Module:
        """A module from a batch without labels to logits; it shares the model's weights."""
        return _Whole(model)

    def collate(self, positions: Positions, seeds: Sequence[int] | None = None) -> Batch:
        """Make a batch with `labels`; augmentation takes one seed a row."""
        return self.task.transform(self.stacked(positions), seeds)

    def stacked(self, positions: Positions) -> Batch:
        """Stack encoded rows into tensors on the device."""
        if self.device_copy.inputs is None:
            return self.moved(self.task.collate(batch_rows(self.encoded, positions)))
        at = torch.from_numpy(positions).to(self.device, non_blocking=True)
        inputs = {name: tensor[at] for name, tensor in self.device_copy.inputs.items()}
        return inputs | {"labels": self._labels[at]}

    @cached_property
    def _labels(self) -> Tensor:
        return torch.tensor(self.encoded["labels"][:], device=self.device)

    def hold(self) -> None:
        """Copy all pictures to a GPU's memory if they fit, so that they are read from disk once."""
        asked = (
            self.device_copy.allowed and self.device_copy.inputs is None and fits_on_device(0, self.device)
        )
        if not asked or self.sizes.any():
            return
        self.device_copy.replace_others()
        one = self._inputs(np.arange(1))
        if fits_on_device(len(self.sizes) * sum(tensor.nbytes for tensor in one.values()), self.device):
            # Another process on this GPU may have been quicker.
            otherwise = "Memory ran out for a copy of all rows on the device: they are read from disk."
            self.device_copy.inputs = if_it_fits(lambda: self._all_inputs(one), otherwise)
            self.device_copy.allowed = self.device_copy.inputs is not None
            keep_for_speed(self.device_copy)

    def _inputs(self, positions: Positions) -> Batch:
        return {name: tensor for name, tensor in self.stacked(positions).items() if name != "labels"}

    def _all_inputs(self, one: Batch) -> Batch:
        num_rows = len(self.sizes)
        found = {name: tensor.new_empty(num_rows, *tensor.shape[1:]) for name, tensor in one.items()}
        for start in range(0, num_rows, _ROWS_AT_ONCE):
            rows = np.arange(start, min(start + _ROWS_AT_ONCE, num_rows))
            for name, tensor in self._inputs(rows).items():
                found[name][start : start + len(rows)] = tensor
        return found

    def moved(self, batch: Batch) -> Batch:
        """Move a batch to the device."""
        return {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}

    @property
    def rows_a_pass(self) -> int:
        """Rows in one forward pass without training.

        On a processor what passes between layers should stay in its cache: at 16 rows ResNet-18 and
        ViT-tiny took a sixth less time for each than at 64, MiniLM a twentieth.
        """
        return 16 if on_processor(self.device) else 64

    def by_size(self, positions: Positions) -> list[Positions]:
        """Batches of rows of similar size for a pass without training, so that padding is short."""
        rows = self.rows_a_pass
        ordered = positions[np.lexsort((positions, self.sizes[positions]))]
        return [part[i : i + rows] for part in self.stackable(ordered) for i in range(0, len(part), rows)]

    def stackable(self, positions: Positions) -> list[Positions]:
        """Cut rows into parts that may each be stacked, in the order of the rows within a part."""
        if self.alike is None or not len(positions):
            return [positions]
        numbers = self.alike[positions]
        order = np.argsort(numbers, kind="stable")
        return np.split(positions[order], np.flatnonzero(np.diff(numbers[order])) + 1)


def cut_by_size(sizes: NDArray[np.int64], overhead: int) -> list[NDArray[np.int64]]:
    """Cut a batch into parts of rows of similar size, where that saves more padding than it costs.

    The cost of a part is its rows times the size of its largest, and `overhead` besides; the cuts are
    those of the lowest total.

    Args:
        sizes: Tokens of each row, (b,).
        overhead: What a part costs by itself, in tokens.

    Returns:
        The places of the rows of each part, smallest rows first.

    Example:
        >>> [part.tolist() for part in cut_by_size(np.array([9, 70, 8, 72]), overhead=50)]
        [[2, 0], [1, 3]]
    """
    order = np.argsort(sizes, kind="stable")
    largest = sizes[order]
    cost, start = np.zeros(len(sizes) + 1), np.zeros(len(sizes) + 1, np.int64)
    for end in range(1, len(sizes) + 1):
        total = cost[:end] + np.arange(end, 0, -1) * largest[end - 1] + overhead
        start[end] = total.argmin()
        cost[end] = total[start[end]]
    cuts, end = [], len(sizes)
    while end:
        cuts.append(order[start[end] : end])
        end = int(start[end])
    return cuts[::-1]


class _Whole(nn.Module):
    """A wrapper whose output is the model's logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, **inputs: Tensor) -> Tensor:
        logits: Tensor = self.model(**inputs).logits
        return logits


def batch_rows(encoded: "Dataset", positions: Positions) -> list[dict[str, Any]]:
    """Read some encoded rows, as one dictionary each."""
    return as_rows(encoded[positions])


def as_rows(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Turn the columns that `encode` returns into rows."""
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
