"""The optimizer, and its learning rate schedule."""

import math
from typing import Any

import torch

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.machine.devices import fuses_updates


def make_optimizer(groups: list[dict[str, Any]], config: RunConfig) -> torch.optim.Optimizer:
    """Make the optimizer of a configuration for these parameter groups."""
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=0.9)
    # With bias correction, which few-sample fine-tuning needs; fused, as one kernel a step is faster.
    return torch.optim.AdamW(groups, fused=fuses_updates(groups[0]["params"][0].device))


def learning_rate_factor(
    config: RunConfig, *, step: int, total: int, phase_step: int, phase_total: int
) -> float:
    """Factor of the peak learning rate: warm-up in each phase, decay over the whole training.

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
