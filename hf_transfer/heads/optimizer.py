"""One optimizer for many heads at once, each with its own rate, decay, and longest gradient."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config import RunConfig

State = dict[str, Tensor]


class StackedOptimizer:
    """AdamW, or SGD with momentum, for (F, G) heads, operation by operation as PyTorch has them.

    Args:
        state: The heads' weights, (F, G, …) each; replaced at every step.
        decays: Names of the weights that learn, and whether weight decay applies to them.
        configs: The G configurations.
    """

    def __init__(self, state: State, decays: Mapping[str, bool], configs: Sequence[RunConfig]) -> None:
        self.state, self.config = state, configs[0]
        first = next(iter(state.values()))
        self.rates = torch.tensor([c.learning_rate for c in configs], device=first.device)
        decay = torch.tensor([c.weight_decay for c in configs], device=first.device)
        self.decays = {name: decay if decays[name] else torch.zeros_like(decay) for name in decays}
        self.first = {name: torch.zeros_like(state[name]) for name in decays}
        self.second = {name: torch.zeros_like(state[name]) for name in decays}
        self.count = torch.zeros(first.shape[:2], device=first.device, dtype=torch.float64)

    def step(self, gradients: State, moving: Tensor, factors: Sequence[float]) -> None:
        """Update the heads that move, after cutting each head's gradient to the longest allowed.

        Args:
            gradients: Of the weights that learn.
            moving: Which heads take this step, (F, G).
            factors: Of the learning rate in each fold.
        """
        if self.config.max_grad_norm:
            gradients = _clipped(gradients, self.config.max_grad_norm)
        rates = torch.tensor(factors, device=self.rates.device)[:, None] * self.rates
        self.count += moving
        update = self._sgd if self.config.optimizer == "sgd" else self._adamw
        everything = bool(moving.all())
        for name, gradient in gradients.items():
            found = update(name, gradient, rates)
            for place, new in zip((self.state, self.first, self.second), found, strict=True):
                place[name] = new if everything else torch.where(like(moving, new), new, place[name])

    def _adamw(self, name: str, gradient: Tensor, rates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight = self.state[name] * like(1 - rates * self.decays[name], gradient)
        first = torch.lerp(self.first[name], gradient, 0.1)
        second = self.second[name].mul(0.999).addcmul_(gradient, gradient, value=0.001)
        count = self.count.clamp(min=1)
        step = like((rates / (1 - 0.9**count)).float(), gradient)
        root = like((1 - 0.999**count).sqrt().float(), gradient)
        return weight - step * first / (second.sqrt() / root + 1e-8), first, second

    def _sgd(self, name: str, gradient: Tensor, rates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight = self.state[name]
        gradient = gradient + like(self.decays[name].expand_as(rates), weight) * weight
        first = 0.9 * self.first[name] + gradient
        return weight - like(rates, weight) * first, first, self.second[name]


def _clipped(gradients: State, longest: float) -> State:
    squares = [gradient.flatten(2).square().sum(-1) for gradient in gradients.values()]
    norm = torch.stack(squares).sum(0).sqrt()
    factor = (longest / (norm + 1e-6)).clamp(max=1)
    return {name: gradient * like(factor, gradient) for name, gradient in gradients.items()}


def like(values: Tensor, other: Tensor) -> Tensor:
    """(F, G) values with as many dimensions as a stacked tensor."""
    return values.reshape(*values.shape, *(1,) * (other.ndim - 2))
