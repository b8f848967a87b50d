"""What a training takes and what it returns."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.folds.order import RowIds
from hf_transfer.layers.freezing import Freezing, moving_tensors
from hf_transfer.replay.batching import Batches
from hf_transfer.runs.share import Wise
from hf_transfer.tasks.task import Task
from hf_transfer.training.checkpoint import Checkpoints
from hf_transfer.training.workers import Workers

if TYPE_CHECKING:
    from hf_transfer.replay.replayed import Replay

Epoch = dict[str, Any]
Weights = dict[str, Tensor]
"""Parameters and buffers by their names in a model."""


@dataclass(frozen=True)
class Ends:
    """What may learn of a model, before its training and after it."""

    start: Weights
    tuned: Weights


@dataclass(frozen=True)
class Job:
    """All that a training needs besides its rows.

    Attributes:
        row_ids: What identifies each row, for messages; its number when not given.
        checkpoints: Where the training keeps its state while it goes on; None keeps nothing.
        term: What is added to the loss of each batch; it keeps no state in checkpoints.
    """

    task: Task
    replay: "Replay"
    config: RunConfig
    seed: int
    workers: Workers
    title: str = "training"
    on_epoch: Callable[[Epoch], None] | None = None
    row_ids: RowIds = ()
    checkpoints: Checkpoints | None = None
    term: "Term | None" = None


@dataclass
class Fitted:
    """A trained model, and the record of its training."""

    model: nn.Module
    freezing: Freezing
    batches: Batches
    history: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0
    hash_before: str | None = None
    hash_after: str | None = None
    start_hash: str | None = None
    notes: list[str] = field(default_factory=list)
    scale: Tensor | None = None  # that numbers are learned at, until it is folded into the output layer
    strength: float | None = None  # of the penalty of a head in closed form
    seconds_before: float = 0.0  # in processes that were stopped
    ends: Ends | None = None  # to average between
    wise: Wise | None = None  # how they were averaged

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return sum(p.numel() for n, p in self.model.named_parameters() if n in self.freezing.trainable)

    @property
    def learner(self) -> nn.Module:
        """The module from batches to logits."""
        return self.batches.learner(self.model)

    def moving(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters and buffers that training may change, by their names in the model."""
        return moving_tensors(self.model, self.freezing)

    def weights(self) -> Weights:
        """A copy of these."""
        return {name: tensor.detach().clone() for name, tensor in self.moving()}

    def load(self, weights: Weights) -> None:
        """Take on a copy of these."""
        with torch.no_grad():
            for name, tensor in self.moving():
                tensor.copy_(weights[name])


class Term(Protocol):
    """What is added to the loss of each batch, such as what other rows say without labels."""

    def begin(self, fitted: Fitted, freezing: Freezing) -> None:
        """Take up the model as it is frozen from here on."""

    def __call__(self, num_rows: int, progress: float) -> Tensor:
        """The term, a number, after the model has answered for some rows of the batch.

        Args:
            num_rows: Which have just passed.
            progress: Of the training, from 0 to 1.
        """

    def step(self, rate: float) -> None:
        """Update weights that are not the model's, at this learning rate."""
