"""The scale that numbers are learned at: that of the training rows, folded into the output layer at last."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.layers.output import output_layer
from hf_transfer.layers.shards import whole, write

if TYPE_CHECKING:
    from hf_transfer.replay.batching import Positions
    from hf_transfer.replay.replayed import Replay


def label_scale(model: nn.Module, replay: "Replay", train: "Positions") -> Tensor | None:
    """Mean and deviation of the labels of the training rows, (2, t); None where labels are no numbers.

    An output layer without a bias, as a decoder's, has no place for a mean: they are taken from 0.
    """
    if not replay.task.target.scales:
        return None
    labels = np.asarray(replay.encoded.select(train)["labels"][:], np.float64)
    biased = output_layer(model, biased=False)[1].bias is not None
    start = labels.mean(axis=0) * biased
    spread = np.sqrt(np.mean((labels - start) ** 2, axis=0))
    found = np.stack([start, np.where(spread > 0, spread, 1.0)])
    return torch.tensor(found, dtype=torch.float32, device=replay.accelerator.device)


def scaled(labels: Tensor, scale: Tensor | None) -> Tensor:
    """Labels (b, t) in units of a scale (2, t), or (F, b, t) in those of (F, 2, t)."""
    return labels if scale is None else (labels - scale[..., :1, :]) / scale[..., 1:, :]


def fold_scale(model: nn.Module, scale: Tensor | None) -> None:
    """Let a model that has learned at a scale give numbers as they come in the data, by its output layer."""
    if scale is not None:
        mean, spread = scale.double()
        _change(model, spread, mean)


def unfold_scale(model: nn.Module, scale: Tensor | None) -> None:
    """Let a model that gives numbers as they come give them at a scale, to go on learning there."""
    if scale is not None:
        mean, spread = scale.double()
        _change(model, 1 / spread, -mean / spread)


def _change(model: nn.Module, factor: Tensor, start: Tensor) -> None:
    layer = output_layer(model, biased=False)[1]
    with torch.no_grad():
        write(layer.weight, whole(layer.weight).double() * factor[:, None])
        if layer.bias is not None:
            write(layer.bias, whole(layer.bias).double() * factor + start)
