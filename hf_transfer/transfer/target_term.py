"""What is added to the loss of a batch of the source: a term on as many rows of the target, without labels.

No label of the target is read. Running statistics of normalisation layers are those of the source alone:
target rows pass by them, in training as in prediction. So a term without weight leaves the training of the
source as it is, to the bit.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ModelError
from hf_transfer.folds import derive_seed
from hf_transfer.layers.freezing import Freezing
from hf_transfer.layers.output import output_layer
from hf_transfer.machine.devices import seeded
from hf_transfer.replay.batching import Positions
from hf_transfer.replay.replayed import Replay
from hf_transfer.training.job import Fitted
from hf_transfer.training.optimizer import make_optimizer
from hf_transfer.transfer.trained_arms import confusion, domain_teller, reversal, told_apart


class Comparison(Protocol):
    """What is asked of a batch of both domains."""

    def __call__(self, source: Tensor, target: Tensor, logits: Tensor, progress: float, /) -> Tensor:
        """A loss, of what the output layer reads of both (b, d), and of the target's logits (b, c)."""

    def step(self, rate: float) -> None:
        """Update weights of its own."""


class Adversary:
    """DANN: a network tells the domains apart, and its gradient reaches the backbone reversed.

    The network learns as the model's head does: by the same optimizer, rate and decay.

    References:
        Ganin et al., "Domain-adversarial training of neural networks", JMLR 17, 2016.
    """

    def __init__(
        self,
        width: int,
        config: RunConfig,
        device: torch.device,
        schedule: Callable[[float], float] = reversal,
    ) -> None:
        self.teller, self.schedule = domain_teller(width).to(device), schedule
        group = {"params": list(self.teller.parameters()), "weight_decay": config.weight_decay}
        self.optimizer = make_optimizer([group], config)

    def __call__(self, source: Tensor, target: Tensor, _logits: Tensor, progress: float) -> Tensor:
        """The loss of telling the domains apart.

        Raises:
            ModelError: If the output layer reads more than one vector a row.
        """
        if source.ndim != 2:
            raise ModelError(
                "dann tells domains apart by the vector that the output layer reads of a row, and that of "
                "this model reads one for each token. Take mcc in its place, or another --base_model."
            )
        both = torch.cat([source, target]).float()
        return told_apart(self.teller, both, len(source), self.schedule(progress))

    def step(self, rate: float) -> None:
        """Update the network."""
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()


class LeastConfusion:
    """MCC: what is said for a class of target rows should not be said for others at the same time.

    References:
        Jin et al., "Minimum class confusion for versatile domain adaptation", ECCV 2020.
    """

    def __init__(self, width: int, config: RunConfig, device: torch.device) -> None: ...

    def __call__(self, _source: Tensor, _target: Tensor, logits: Tensor, _progress: float) -> Tensor:
        """The confusion of the target rows."""
        return confusion(logits.float())

    def step(self, rate: float) -> None:
        """Do nothing, as it has no weights."""


MakeComparison = Callable[[int, RunConfig, torch.device], Comparison]
COMPARISONS: Mapping[str, MakeComparison] = {"dann": Adversary, "mcc": LeastConfusion}


class TargetTerm:
    """A comparison with target rows, which pass through the model after those of the source.

    Args:
        make: The comparison, by the width of what the output layer reads.
        replay: Of the target.
        positions: Which of its encoded rows to take.
        config: How the model learns.
        seed: Of their order, of dropout and of augmentation.
    """

    def __init__(
        self, make: MakeComparison, replay: Replay, positions: Positions, config: RunConfig, seed: int
    ) -> None:
        self.make, self.replay, self.config, self.seed = make, replay, config, seed
        self.comparison: Comparison | None = None
        self.read: list[Tensor] = []  # by the output layer, since it was last looked at
        self.order = _endless(positions, seed)
        self.num_drawn = 0

    def begin(self, fitted: Fitted, freezing: Freezing) -> None:
        """Take up the model as it is frozen from here on."""
        self.model = fitted.model
        self.batches = self.replay.batches(self.model, freezing)
        self.learner = self.batches.learner(self.model)
        if self.comparison is None:
            layer = output_layer(self.model, biased=False)[1]
            self.hook = layer.register_forward_pre_hook(lambda _, inputs: self.read.append(inputs[0]))
            with _own_random(self.seed, self.batches.device):
                self.comparison = self.make(layer.in_features, self.config, self.batches.device)

    def __call__(self, num_rows: int, progress: float) -> Tensor:
        """The loss of the comparison, by as many target rows as source rows have just passed."""
        source = self._looked_at()[-num_rows:]  # after some that memory was short for
        rows = np.fromiter((next(self.order) for _ in range(num_rows)), np.int64, num_rows)
        self.num_drawn += 1
        with _own_random(derive_seed(self.seed, self.num_drawn), self.batches.device):
            logits = torch.cat([self._passed(part) for part in self.batches.stackable(rows)])
        assert self.comparison is not None
        return self.comparison(source, self._looked_at(), logits, progress)

    def step(self, rate: float) -> None:
        """Update what the comparison has of weights."""
        assert self.comparison is not None
        self.comparison.step(rate)

    def end(self) -> None:
        """Leave the model as a model without a term."""
        self.hook.remove()

    def _looked_at(self) -> Tensor:
        found, self.read = torch.cat(self.read), []
        return found

    def _passed(self, rows: Positions) -> Tensor:
        seeds = None
        if self.batches.task.augments:
            seeds = [derive_seed(self.seed, "augmentation", self.num_drawn, row) for row in rows.tolist()]
        batch = self.batches.collate(rows, seeds)
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        with _statistics_held(self.model), self.replay.accelerator.autocast():
            logits: Tensor = self.learner(**inputs)
        return logits


def _endless(positions: Positions, seed: int) -> Iterator[int]:
    """All rows in one order, then in another."""
    random = np.random.default_rng(seed)
    while True:
        yield from random.permutation(positions).tolist()


@contextmanager
def _own_random(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from other streams of random numbers, and leave those of the training as they are."""
    before = np.random.get_state()
    with seeded(seed, device):
        np.random.seed(seed % 2**32)  # by which speech models mask
        try:
            yield
        finally:
            np.random.set_state(before)


@contextmanager
def _statistics_held(model: nn.Module) -> Iterator[None]:
    """Take running statistics as they are, and leave them so; the modes of other layers stay."""
    layers = [
        one for one in model.modules() if one.training and getattr(one, "running_mean", None) is not None
    ]
    for layer in layers:
        layer.training = False
    try:
        yield
    finally:
        for layer in layers:
            layer.training = True
