"""The model that a training starts from: built afresh from its seed, and identified by a digest."""

from itertools import chain

import torch
from torch import nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.folds.order import derive_seed
from hf_transfer.layers.freezing import tensor_digest
from hf_transfer.machine.devices import placed
from hf_transfer.tasks.task import Task


def fresh_model(task: Task, config: RunConfig, seed: int, device: torch.device) -> nn.Module:
    """Build a model to train, on its device.

    Its new weights are drawn from the fold's seed; with `shared_start`, from one that all folds have.
    What is random in the training that follows is the fold's own either way.
    """
    torch.manual_seed(shared_seed(config) if config.shared_start else seed)
    model = placed(task.build_model(), device)
    if config.shared_start:
        torch.manual_seed(seed)
    return model


def shared_seed(config: RunConfig) -> int:
    """Seed of the new weights, where all folds start from the same ones."""
    return derive_seed(config.seed, "start")


def start_hash(model: nn.Module, config: RunConfig) -> str | None:
    """Digest of the whole model before training; None where each fold starts from its own weights."""
    if not config.shared_start:
        return None
    return tensor_digest(model, [name for name, _ in chain(model.named_parameters(), model.named_buffers())])
