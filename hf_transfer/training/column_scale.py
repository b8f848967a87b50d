"""The scale that columns of a table are learned at: of the training rows, folded into the output layer."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.layers.output import output_layer
from hf_transfer.layers.shards import whole, write
from hf_transfer.scores.columns import fit_columns, scale_columns

if TYPE_CHECKING:
    from hf_transfer.replay.batching import Batches, Positions


@dataclass(frozen=True)
class ColumnScale:
    """What the last columns of the output layer's input are brought to before they are learned from.

    Attributes:
        mean: Of each, (w,), or of each fold, (F, 1, w).
        factor: The same of what differs from the mean.
        lacking: Places of the columns that say what is missing, (w,); see `Task.lacking`.
    """

    mean: Tensor
    factor: Tensor
    lacking: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Features (b, d), or (F, b, d) of several folds, at this scale."""
        start = features.shape[-1] - len(self.lacking)
        table = scale_columns(features[..., start:].float(), self.mean, self.factor, self.lacking)
        return torch.cat([features[..., :start], table], dim=-1)

    def fold(self, model: nn.Module) -> None:
        """Let a model that has learned at this scale read columns as they come, by its output layer."""
        layer = output_layer(model, biased=False)[1]
        mean, factor = self.mean.double(), self.factor.double()
        with torch.no_grad():
            weight = whole(layer.weight).double()
            table = weight[:, -len(self.lacking) :]  # a view
            table *= factor
            shift = table.float().double() * mean  # as the weights will be rounded
            table.index_add_(1, self.lacking, shift)
            write(layer.weight, weight)
            if layer.bias is not None:
                write(layer.bias, whole(layer.bias).double() - shift.sum(dim=1))


def column_scale(batches: "Batches", train: "Positions") -> ColumnScale | None:
    """The scale by some rows, and no others; None without a table."""
    lacking = batches.task.lacking
    if not lacking:
        return None
    values = np.asarray(batches.encoded.select(train)["table"][:], np.float64)
    mean, factor = (
        torch.tensor(found, dtype=torch.float32, device=batches.device)
        for found in fit_columns(values, lacking)
    )
    return ColumnScale(mean, factor, torch.tensor(lacking, device=batches.device))


def of_folds(scales: Sequence[ColumnScale | None]) -> ColumnScale | None:
    """The scales of several folds as one."""
    known = [scale for scale in scales if scale is not None]
    if not known:
        return None
    means, factors = (
        torch.stack([getattr(one, name) for one in known])[:, None] for name in ("mean", "factor")
    )
    return ColumnScale(means, factors, known[0].lacking)


@contextmanager
def columns_scaled(model: nn.Module, scale: ColumnScale | None) -> Iterator[None]:
    """Let a model learn at a scale, which is folded into its output layer at the end."""
    if scale is None:
        yield
        return
    layer = output_layer(model, biased=False)[1]
    hook = layer.register_forward_pre_hook(lambda _, given: (scale(given[0]),))
    try:
        yield
    finally:
        hook.remove()
    scale.fold(model)
