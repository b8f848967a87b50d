"""Batches of stored features, which start at a cut."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.replay.batching import Batch, Batches, Positions
from hf_transfer.replay.cut import Cut, Suffix
from hf_transfer.replay.store import FeatureStore
from hf_transfer.tasks.targets.target import IGNORE_INDEX

if TYPE_CHECKING:
    from datasets import Dataset


class ReplayedBatches(Batches):
    """Batches that hold stored `features` in place of what lies below the cut.

    Args:
        plain: The same rows in full.
        cut: Where they begin.
        store: What enters there.
        num_views: Augmented versions of each row to choose from in training; 0 takes the plain one.
    """

    def __init__(self, plain: Batches, cut: Cut, store: FeatureStore, num_views: int) -> None:
        super().__init__(plain.task, plain.encoded, plain.device)
        self.plain, self.cut, self.store, self.num_views = plain, cut, store, num_views
        self.labels = Labels(plain.encoded)
        self._example = plain.collate(np.arange(1))

    def learner(self, model: nn.Module) -> nn.Module:
        """The part of the model above the cut."""
        return Suffix(model, self.cut)

    @property
    def rows_a_pass(self) -> int:
        """Rows in one forward pass without training; more than usual, as a head is small."""
        return 64 if self.cut.chain else super().rows_a_pass

    @property
    def alike(self) -> NDArray[np.int64] | None:
        """None where a row is one vector, which no padding can change."""
        return None if self.cut.chain and not self.cut.shape.by_token else self.plain.alike

    def hold(self) -> None:
        """Do nothing: stored features went to the GPU when they were opened, if they fit."""

    def collate(self, positions: Positions, seeds: Sequence[int] | None = None) -> Batch:
        """Make a batch of stored features and labels, with other inputs if layers above the cut read them."""
        features = {"features": self.store.read(positions, self._views(positions, seeds))}
        if self.cut.chain:
            return self.moved(features | {"labels": self.labels.of(positions)})
        if self.alike is not None or any(
            not tensor.is_floating_point() for name, tensor in self._example.items() if name != "labels"
        ):
            return self.moved(features) | super().collate(positions)
        # Inputs in floating point (pixels) lie below the cut, so that only their shape is looked at.
        shapes = {
            name: tensor.new_full((), float("nan")).expand(len(positions), *tensor.shape[1:])
            for name, tensor in self._example.items()
            if name != "labels"
        }
        return self.moved(features | {"labels": self.labels.of(positions)}) | shapes

    def _views(self, positions: Positions, seeds: Sequence[int] | None) -> NDArray[np.int64]:
        if seeds is None or not self.num_views:
            return np.zeros_like(positions)
        return 1 + np.asarray(seeds, np.int64) % self.num_views


class Labels:
    """All labels in memory, end to end: one a row, or several (of tokens, say).

    Args:
        encoded: The encoded rows.
    """

    def __init__(self, encoded: "Dataset") -> None:
        column = encoded.with_format("arrow")["labels"][:]
        self.several = pa.types.is_nested(column.type)
        sizes = pc.list_value_length(column).to_numpy() if self.several else np.ones(len(column), np.int64)
        self.starts = np.concatenate([[0], np.cumsum(sizes)])
        values = (pc.list_flatten(column) if self.several else column).to_numpy()
        self.values = values.astype(np.int32 if values.dtype.kind in "iu" else np.float32)  # to take half

    def of(self, positions: Positions) -> Tensor:
        """Labels of some rows, (b,), or padded with the ignored index, (b, l)."""
        starts, sizes = self.starts[positions], np.diff(self.starts)[positions]
        places = np.arange(sizes.max())
        inside = places < sizes[:, None]
        found = np.where(inside, self.values[np.where(inside, starts[:, None] + places, 0)], IGNORE_INDEX)
        kind = np.int64 if self.values.dtype.kind == "i" else np.float32
        return torch.from_numpy(found.astype(kind)).reshape((-1, *found.shape[1:] * self.several))
