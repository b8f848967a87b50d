"""Plan the phases of a training, and freeze the model for each."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from torch import nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.layers.freezing import Freezing, freeze
from hf_transfer.layers.output import output_layer


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
    """Divide the epochs of a training into phases.

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
    """Freeze a model as a configuration says; for a head in closed form, all but its output layer."""
    if config.solved:
        return freeze_but_output(model, config)
    return freeze(model, config.trainable, norm=config.norm, only=only)


def freeze_but_output(model: nn.Module, config: RunConfig) -> Freezing:
    """Freeze all but the output layer, as only that can be solved in closed form."""
    return freeze(model, f"-*,{output_layer(model)[0]}.*", norm=config.norm)


def phases_of(config: RunConfig, freezing: Freezing) -> tuple[Phase, ...]:
    """Phases of a training, from the layers that `trainable` selects."""
    learning = [g.name for g in freezing.groups if not freezing.trainable.isdisjoint(g.parameters)]
    return plan_phases(config.schedule, config.num_epochs, learning)
