"""PyTorch's optimizers for many heads at once, each with its own rate, decay and gradient clipping."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.machine.devices import on_processor
from hf_transfer.training.optimizer import make_optimizer

State = dict[str, Tensor]


class StackedOptimizer:
    """AdamW or SGD with momentum for (F, G) heads, with the same updates as `fit`.

    Each head's weights are views of the stacked ones and parameters of their own to the optimizer,
    so that what it does to them is what it does to a head trained alone. Those that share a rate
    and a decay are one group: a group costs as much as a head of a few thousand weights.

    Args:
        state: The heads' weights, (F, G, …) each; changed in place, and laid out anew once.
        decays: Names of the weights that learn, and whether weight decay applies to them.
        configs: The G configurations.
        steps: Updates in an epoch of each of the F folds.
    """

    def __init__(
        self,
        state: State,
        decays: Mapping[str, bool],
        configs: Sequence[RunConfig],
        steps: Sequence[int],
    ) -> None:
        self.state, self.decays, self.configs, self.steps = state, decays, configs, steps
        self.optimizer: torch.optim.Optimizer | None = None

    def step(self, gradients: State, moving: NDArray[np.bool_], factors: Sequence[float]) -> None:
        """Clip each head's gradient, and update the heads that still learn.

        Args:
            gradients: Of the weights that learn, (F, G, …) each.
            moving: Which heads take this step, (F, G).
            factors: Of the learning rate in each fold.
        """
        if self.optimizer is None:
            self._lay_out(gradients)
            self.optimizer = make_optimizer(self._groups(), self.configs[0])
        gradients = {name: _lying_as(self.state[name], gradient) for name, gradient in gradients.items()}
        if longest := self.configs[0].max_grad_norm:
            _clip(gradients, longest)
        moves = moving.tolist()
        for group in self.optimizer.param_groups:
            config = group["config"]
            group["lr"] = self.configs[config].learning_rate * factors[group["owners"][0][1]]
            for parameter, (name, fold) in zip(group["params"], group["owners"], strict=True):
                # A parameter without gradient is left alone, its moments too.
                parameter.grad = gradients[name][fold, config] if moves[fold][config] else None
        self.optimizer.step()

    def _lay_out(self, gradients: State) -> None:
        """Give the weights the memory layout of their gradients, which are often transposed.

        The fused kernel reads memory as it lies, and turning every gradient took as long as the step. It
        cannot tell the weights of heads apart that lie between each other; such are laid out head by head.
        """
        for name, gradient in gradients.items():
            like_it = torch.empty_like(gradient)
            laid_out = (
                like_it if _dense(like_it[0, 0]) else torch.empty(gradient.shape, device=gradient.device)
            )
            self.state[name] = laid_out.copy_(self.state[name])

    def _groups(self) -> list[dict[str, Any]]:
        groups = []
        for position, config in enumerate(self.configs):
            for decayed in sorted(set(self.decays.values())):
                names = [name for name in self.decays if self.decays[name] == decayed]
                for count in sorted(set(self.steps)):  # folds of equal length share the rate of every step
                    folds = [fold for fold, steps in enumerate(self.steps) if steps == count]
                    owners = [(name, fold) for fold in folds for name in names]
                    groups.append(
                        {
                            "params": [self.state[name][fold, position].detach() for name, fold in owners],
                            "owners": owners,
                            "config": position,
                            "lr": config.learning_rate,
                            "weight_decay": config.weight_decay if decayed else 0.0,
                        }
                    )
        return groups


def _dense(tensor: Tensor) -> bool:
    """Whether a tensor fills its memory without gaps, in any order of dimensions."""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and stride != expected:
            return False
        expected *= size
    return True


def _lying_as(weights: Tensor, gradient: Tensor) -> Tensor:
    same = gradient.stride() == weights.stride()
    return gradient if same else torch.empty_like(weights).copy_(gradient)


def _clip(gradients: State, longest: float) -> None:
    """Clip the gradient norm of each head, over all its weights."""
    norms = [
        torch.linalg.vector_norm(gradient.unsqueeze(-1), dim=tuple(range(2, gradient.ndim + 1)))
        for gradient in gradients.values()
    ]
    factor = (longest / (torch.stack(norms).square().sum(0).sqrt() + 1e-6)).clamp(max=1)
    # A device would have to be waited for; a factor of 1 changes nothing.
    if not on_processor(factor.device) or bool((factor < 1).any()):
        for gradient in gradients.values():
            gradient.mul_(like(factor, gradient))


def like(values: Tensor, other: Tensor) -> Tensor:
    """Reshape (F, G) values to broadcast against a stacked tensor."""
    return values.reshape(*values.shape, *(1,) * (other.ndim - 2))
