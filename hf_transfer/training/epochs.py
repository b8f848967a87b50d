"""Order the rows of an epoch, cut them into effective batches, and give each process its share."""

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.folds.order import derive_seed
from hf_transfer.layers.freezing import Freezing
from hf_transfer.machine.devices import on_processor
from hf_transfer.replay.batching import Batches, Positions
from hf_transfer.training.job import Job
from hf_transfer.training.workers import Workers

if TYPE_CHECKING:
    from hf_transfer.replay.replayed import Replay

# Fixed cost of a forward pass on a CPU, in tokens: we measured 110 for 11 million weights and 65 for
# 86 million. The smaller the layers, the less a token costs compared with the pass itself.
_WEIGHTS_A_PASS, _FEWEST_TOKENS = 1e9, 60


def label_weights(replay: "Replay", config: RunConfig, train: Positions) -> Tensor | None:
    """Class weights for the loss, computed on the training rows alone; None without any."""
    if config.class_weights == "none":
        return None
    weights = replay.task.target.balanced_weights(replay.encoded.select(train)["labels"][:])
    return torch.tensor(weights, dtype=torch.float32, device=replay.accelerator.device)


def epoch_order(positions: Positions, seed: int, epoch: int) -> Positions:
    """The order of rows in one epoch."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
    order: Positions = torch.randperm(len(positions), generator=generator).numpy()
    return positions[order]


def effective_batches(positions: Positions, batch_size: int, num_processes: int) -> list[Positions]:
    """Cut rows into batches; a last batch too small to share or to normalise joins the one before."""
    cuts = list(range(batch_size, len(positions), batch_size))
    if cuts and len(positions) - cuts[-1] < max(2, num_processes):
        cuts.pop()
    return np.split(positions, cuts)


def shares(batch: Positions, workers: Workers, per_device: int | None, fewest: int) -> list[Positions]:
    """This process's share of an effective batch, in steps that fit; as many steps for every process.

    Args:
        batch: Positions of all rows of an update.
        workers: Who shares it.
        per_device: Most rows of a step, as far as `fewest` allows.
        fewest: Rows of a step.
    """
    steps = _num_steps(batch, workers, per_device, fewest)
    return np.array_split(batch, workers.size * steps)[workers.rank * steps : (workers.rank + 1) * steps]


def most_rows(batch: Positions, workers: Workers, per_device: int | None, fewest: int) -> int:
    """Most rows of a batch that any process takes at a time: the same number for all of them."""
    return math.ceil(len(batch) / (workers.size * _num_steps(batch, workers, per_device, fewest)))


def fewest_rows(model: nn.Module, freezing: Freezing) -> int:
    """Fewest rows to learn from at a time: a BatchNorm that moves may find one number in a single row."""
    layers = (module for name, module in model.named_modules() if name in freezing.moving)
    return 2 if any(getattr(layer, "running_mean", None) is not None for layer in layers) else 1


def _num_steps(batch: Positions, workers: Workers, per_device: int | None, fewest: int) -> int:
    each = math.ceil(len(batch) / workers.size)
    steps = math.ceil(each / (per_device or each))
    return max(1, min(steps, len(batch) // (workers.size * fewest)))


def tokens_a_pass(model: nn.Module) -> int:
    """Fixed cost of one forward pass on a CPU, expressed in tokens."""
    looked_up = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    multiplied = sum(p.numel() for p in model.parameters() if id(p) not in looked_up)
    return max(_FEWEST_TOKENS, round(_WEIGHTS_A_PASS / max(multiplied, 1)))


def pads_much(job: Job, batches: Batches, freezing: Freezing) -> bool:
    """Whether to group a batch's rows by length, which saves padding but changes dropout's draws.

    On a processor a token of padding costs what any token does. A GPU would rather have one large
    pass. A head costs little, and is the same for a part of a batch from a store or from the model.
    """
    head = set(freezing.groups[-1].parameters)
    alone = job.workers.size == 1 and on_processor(job.workers.accelerator.device) and not job.config.compile
    return alone and bool(batches.sizes.any()) and not freezing.trainable <= head
