"""What learns when, and how fast: phases of a training and the factor of its learning rate."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config import RunConfig
from hf_transfer.errors import LayerSelectionError
from hf_transfer.layers import Freezing, freeze, layer_groups


@dataclass(frozen=True)
class Phase:
    """Some epochs in which the same layers learn.

    Attributes:
        only: The groups that may learn; None means all that `trainable` selects.
    """

    name: str
    num_epochs: int
    only: frozenset[str] | None = None


def plan_phases(schedule: str, num_epochs: int, learning_groups: Sequence[str]) -> tuple[Phase, ...]:
    """Divide the epochs of a training.

    `lp-ft` gives the head the first half and everything the second. `gradual` unfreezes from the
    top, a group an epoch (several at once when there are more groups than epochs).

    Args:
        schedule: `constant`, `lp-ft` or `gradual`.
        num_epochs: Of the whole training.
        learning_groups: Groups that `trainable` selects, from input to output, the head last.

    References:
        Kumar et al., "Fine-Tuning can Distort Pretrained Features", ICLR 2022,
        https://arxiv.org/abs/2202.10054; Howard and Ruder, ACL 2018, https://arxiv.org/abs/1801.06146.
    """
    if schedule == "constant" or len(learning_groups) < 2 or num_epochs < 2:
        return (Phase("all", num_epochs),)
    if schedule == "lp-ft":
        first = math.ceil(num_epochs / 2)
        return (Phase("head", first, frozenset(learning_groups[-1:])), Phase("all", num_epochs - first))
    steps = min(len(learning_groups), num_epochs)
    phases = []
    for step in range(1, steps):
        top = math.ceil(step * len(learning_groups) / steps)
        phases.append(Phase(f"top {top}", 1, frozenset(learning_groups[-top:])))
    return (*phases, Phase("all", num_epochs - len(phases)))


def freeze_for(model: nn.Module, config: RunConfig, *, only: Collection[str] | None = None) -> Freezing:
    """Freeze a model as a configuration says; a head in closed form is its output layer alone."""
    if config.solved:
        return freeze_but_output(model, config)
    return freeze(model, config.trainable, norm=config.norm, only=only)


def freeze_but_output(model: nn.Module, config: RunConfig) -> Freezing:
    """Freeze all but the layer that gives the logits, which is what can be solved in closed form."""
    return freeze(model, f"-*,{output_layer(model)[0]}.*", norm=config.norm)


def output_layer(model: nn.Module) -> tuple[str, nn.Linear]:
    """The linear layer that gives the logits, with its name.

    Raises:
        LayerSelectionError: If there is none.
    """
    config: Any = model.config
    for name in reversed(layer_groups(model)[-1].modules):
        layer = model.get_submodule(name)
        if (
            isinstance(layer, nn.Linear)
            and layer.out_features == config.num_labels
            and layer.bias is not None
        ):
            return name, layer
    raise LayerSelectionError(
        "head_solver and head_start=probe need a model whose output is a linear layer with a bias; this one "
        "has none. Use head_solver=gradient and head_start=random."
    )


def phases_of(config: RunConfig, freezing: Freezing) -> tuple[Phase, ...]:
    """The phases of a training, given what its `trainable` selects."""
    learning = [g.name for g in freezing.groups if not freezing.trainable.isdisjoint(g.parameters)]
    return plan_phases(config.schedule, config.num_epochs, learning)


def make_optimizer(groups: list[dict[str, Any]], config: RunConfig) -> torch.optim.Optimizer:
    """The optimizer of a configuration for some parameter groups."""
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=0.9)
    # With bias correction, which few-sample fine-tuning needs; fused, as one kernel a step is faster.
    fused = groups[0]["params"][0].device.type in {"cpu", "cuda"}
    return torch.optim.AdamW(groups, fused=fused)


def learning_rate_factor(
    config: RunConfig, *, step: int, total: int, phase_step: int, phase_total: int
) -> float:
    """Factor of the peak learning rate: rising at the start of each phase, falling over the whole.

    Args:
        config: Of which `warmup` and `scheduler` are used.
        step: Updates done so far, of `total`.
        total: Updates in all phases together.
        phase_step: Updates done in this phase, of `phase_total`: newly unfrozen layers warm up too.
        phase_total: Updates in this phase.
    """
    wanted = config.warmup if config.warmup >= 1 else config.warmup * phase_total
    warm = min(round(wanted), phase_total)
    rising = phase_step / warm if phase_step < warm else 1.0
    first_warm = warm if phase_total == total else 0
    done = max(0.0, (step - first_warm) / max(1, total - first_warm))
    falling = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}
    return rising * falling[config.scheduler]
