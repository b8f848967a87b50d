"""What a model may learn without labels: the interface of an objective."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.wording import number
from hf_transfer.replay.batching import Batch
from hf_transfer.runs.pretrain_record import EpochLoss

_COLLAPSED = 0.05  # spread of features below which they tell hardly anything apart


class Objective(Protocol):
    """A model with a head for a task without labels, and its loss."""

    name: ClassVar[str]
    title: ClassVar[str]
    """What is learned, in words."""
    drops_out: ClassVar[bool] = False
    """Whether the loss of rows held out needs dropout too."""
    fewest_rows: ClassVar[int] = 1
    """Of a batch: two where rows are learned from each other."""
    model: nn.Module
    new: Sequence[str]
    """Names of weights that the base model lacked."""

    def loss(self, model: nn.Module, batch: Batch, random: torch.Generator) -> Tensor:
        """The mean loss of a batch.

        Args:
            model: The objective's, as it was prepared for the device.
            batch: Rows as the task stacks them, without labels.
            random: On a processor; all that is random beside dropout is drawn from it.
        """
        ...

    def features(self, batch: Batch) -> Tensor | None:
        """What the base model makes of rows as they are, (b, d); None if it cannot make all alike."""
        return None

    def save(self, folder: Path) -> None:
        """Write the model as a base model, without the processor."""
        ...


def spread(features: Tensor) -> float:
    """How far features of rows point in different directions: 0 all in one, 1 evenly in all.

    The standard deviation of each dimension of unit vectors, as a multiple of 1 / √d, on average.

    Args:
        features: (b, d).

    References:
        Chen and He, "Exploring Simple Siamese Representation Learning", CVPR 2021,
        https://arxiv.org/abs/2011.10566.
    """
    unit = functional.normalize(features.float(), dim=1)
    return float(unit.std(dim=0, correction=0).mean() * features.shape[1] ** 0.5)


def new_note(objective: Any) -> list[str]:
    """Say that a base model has no head for the objective, if so."""
    if not objective.new:
        return []
    shown = ", ".join(objective.new[:3]) + (", …" if len(objective.new) > 3 else "")
    return [f"The base model has no head for {objective.title}: these weights began anew: {shown}."]


def collapse_note(losses: Sequence[EpochLoss]) -> list[str]:
    """Say that features of all rows are nearly the same, if so."""
    first, last = (losses[at].feature_spread for at in (0, -1))
    if first is None or last is None or last >= _COLLAPSED:
        return []
    return [
        f"Features of all rows point nearly the same way (spread {number(last)}, {number(first)} before; 1 "
        "is evenly in all directions): they have collapsed, or never came apart. Give more epochs, another "
        "learning_rate, or a larger batch_size."
    ]
