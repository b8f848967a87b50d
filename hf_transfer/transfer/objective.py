"""What a model may learn without labels: the interface of an objective."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.replay.batching import Batch


class Objective(Protocol):
    """A model with a head for a task without labels, and its loss."""

    name: ClassVar[str]
    title: ClassVar[str]
    """What is learned, in words."""
    drops_out: ClassVar[bool]
    """Whether the loss of rows held out needs dropout too."""
    model: nn.Module
    new: Sequence[str]
    """Names of weights that the base model lacked."""

    def loss(self, model: nn.Module, batch: Batch, random: torch.Generator) -> Tensor:
        """The mean loss of a batch.

        Args:
            model: The objective's, as it was prepared for the device.
            batch: Model inputs, without labels.
            random: On a processor; all that is random beside dropout is drawn from it.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write the model as a base model, without the processor."""
        ...


def new_note(objective: Any) -> list[str]:
    """Say that a base model has no head for the objective, if so."""
    if not objective.new:
        return []
    shown = ", ".join(objective.new[:3]) + (", …" if len(objective.new) > 3 else "")
    return [f"The base model has no head for {objective.title}: these weights began anew: {shown}."]
