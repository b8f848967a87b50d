"""PyTorch's own optimizers for many heads at once, each with its own rate, decay, and longest gradient."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config import RunConfig
from hf_transfer.schedule import make_optimizer

State = dict[str, Tensor]


class StackedOptimizer:
    """AdamW, or SGD with momentum, for (F, G) heads, as `fit` uses it for one.

    Each head's weights are views of the stacked ones and parameters of their own to the optimizer,
    so that what it does to them is what it does to a head trained alone. Those that share a rate
    and a decay are one group: a group costs as much as a head of a few thousand weights.

    Args:
        state: The heads' weights, (F, G, …) each; changed in place.
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
        self.configs = configs
        self.groups = []
        for g, config in enumerate(configs):
            for decayed in sorted(set(decays.values())):
                names = [name for name in decays if decays[name] == decayed]
                for count in sorted(set(steps)):  # folds of equal length are at the same rate in each step
                    owners = [(n, f) for f, own in enumerate(steps) if own == count for n in names]
                    self.groups.append(
                        {
                            "params": [state[name][f, g].detach() for name, f in owners],
                            "owners": owners,
                            "config": g,
                            "lr": config.learning_rate,
                            "weight_decay": config.weight_decay if decayed else 0.0,
                        }
                    )
        self.optimizer = make_optimizer(self.groups, configs[0])

    def step(self, gradients: State, moving: Tensor, factors: Sequence[float]) -> None:
        """Update the heads that move, after cutting each head's gradient to the longest allowed.

        Args:
            gradients: Of the weights that learn, (F, G, …) each.
            moving: Which heads take this step, (F, G).
            factors: Of the learning rate in each fold.
        """
        if longest := self.configs[0].max_grad_norm:
            gradients = _clipped(gradients, longest)
        moves = moving.tolist()
        # The fused kernel reads memory as it lies, so that gradients must lie as the weights do.
        gradients = {name: gradient.contiguous() for name, gradient in gradients.items()}
        for group in self.optimizer.param_groups:
            g = group["config"]
            group["lr"] = self.configs[g].learning_rate * factors[group["owners"][0][1]]
            for parameter, (name, f) in zip(group["params"], group["owners"], strict=True):
                # A parameter without gradient is left alone, its moments too.
                parameter.grad = gradients[name][f, g] if moves[f][g] else None
        self.optimizer.step()


def _clipped(gradients: State, longest: float) -> State:
    squares = [gradient.flatten(2).square().sum(-1) for gradient in gradients.values()]
    norm = torch.stack(squares).sum(0).sqrt()
    factor = (longest / (norm + 1e-6)).clamp(max=1)
    return {name: gradient * like(factor, gradient) for name, gradient in gradients.items()}


def like(values: Tensor, other: Tensor) -> Tensor:
    """(F, G) values with as many dimensions as a stacked tensor."""
    return values.reshape(*values.shape, *(1,) * (other.ndim - 2))
