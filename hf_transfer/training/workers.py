"""How processes share the work: each trains its own folds, or all share every batch."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psutil
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.utils import InitProcessGroupKwargs, gather_object
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import RunError, TransferError
from hf_transfer.machine.allocator import keep_freed_memory
from hf_transfer.machine.devices import on_processor
from hf_transfer.machine.environment import usable_cores
from hf_transfer.machine.memory import attempt
from hf_transfer.training.moments import make_moments

# A process that is done with its folds waits for the slowest, for hours if it must. No time limit tells
# one that works from one that is dead: a dead one closes its connections, and the launcher ends the rest.
_PATIENCE = timedelta(days=7)
_FIRST_SCALE = 2.0**16  # of fp16, as torch has it
_LAUNCHED = {"ACCELERATE_MIXED_PRECISION", "LOCAL_WORLD_SIZE"}  # set by accelerate launch, and by torchrun
_GONE = re.compile(r"connection (closed|reset) by peer|remote worker crashing|broken pipe", re.IGNORECASE)


class Workers:
    """The processes that share one piece of work.

    Args:
        accelerator: Where to run.
        together: Whether all processes share each batch, or this one works alone.
    """

    def __init__(self, accelerator: Accelerator, *, together: bool) -> None:
        self.accelerator = accelerator
        self.together = together and accelerator.num_processes > 1
        self.rank = accelerator.process_index if self.together else 0
        self.size = accelerator.num_processes if self.together else 1
        self.line = 0 if self.together else accelerator.process_index  # of its progress bar on the screen

    def prepare(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, Any]:
        """Move model and optimizer to the device, with mixed precision, and with DDP when together.

        The optimizer has all its memory then. Accelerate is not told of it: it divides the gradients of each
        optimizer that it knows by the scale of fp16, those of a phase before as well.

        Raises:
            ShortOfMemoryError: If they do not fit there.
        """
        # Not "for evaluation": that option is how Accelerate leaves a model without DDP around it.
        prepared = self.accelerator.prepare_model(model, evaluation_mode=not self.together)
        wrapped = AcceleratedOptimizer(optimizer, scaler=self.accelerator.scaler)
        attempt(lambda: make_moments(optimizer), "as the optimizer's moments were made", tries=2)
        return prepared, wrapped

    def clip(self, optimizer: Any, parameters: Sequence[nn.Parameter], longest: float) -> None:
        """Clip the norm of an optimizer's gradients."""
        self.accelerator.unscale_gradients(optimizer)
        self.accelerator.clip_grad_norm_(parameters, longest)

    def restart_scale(self) -> None:
        """Let the scale of fp16 begin anew, so that a training depends on none before it."""
        scaler, handler = self.accelerator.scaler, self.accelerator.scaler_handler
        if scaler is None:
            return
        first = handler.init_scale if handler else _FIRST_SCALE
        scaler.scale(torch.zeros((), device=self.accelerator.device))  # or it has nothing to update
        scaler.update(first)  # forgets an update that was not finished, too
        scaler.load_state_dict(scaler.state_dict() | {"scale": first, "_growth_tracker": 0})

    def agreed(self, *wishes: bool) -> list[bool]:
        """Combine decisions over processes that work together: true for all if true for one."""
        if not self.together:
            return list(wishes)
        mine = torch.tensor(wishes, dtype=torch.float32, device=self.accelerator.device)
        return [wish > 0 for wish in self.total(mine).tolist()]

    def gather(self, items: list[Any]) -> list[Any]:
        """Gather the items of all processes that work together."""
        return gather_object(items) if self.together else items

    def total(self, value: Tensor) -> Tensor:
        """Sum a tensor over all processes that work together."""
        return self.accelerator.reduce(value, "sum") if self.together else value

    def share(self, items: Sequence[Any]) -> Sequence[Any]:
        """This process's share of a list, when processes work on it together."""
        return items[self.rank :: self.size]

    def own(self, items: Sequence[Any]) -> Sequence[Any]:
        """The trainings that this process takes part in: its own, or all when processes work together."""
        if self.together:
            return items
        return items[self.accelerator.process_index :: self.accelerator.num_processes]


def make_accelerator(config: RunConfig) -> Accelerator:
    """Make the Accelerator; processes that train folds side by side share the cores."""
    accelerator = Accelerator(
        # Without a GPU, several processes join (through gloo) only when told that they are on processors.
        cpu=not torch.accelerator.is_available(),
        mixed_precision=config.mixed_precision,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE, backend=_backend())],
    )
    if on_processor(accelerator.device):
        keep_freed_memory()
    use_cores(accelerator, config, beside=config.folds_per_device)
    return accelerator


def use_cores(accelerator: Accelerator, config: RunConfig, *, beside: int = 1) -> None:
    """Set the number of threads of a launched process: all cores, or its share of them.

    Sums in floating point depend on how many threads add them up. A launcher gives each of its
    processes fewer threads, and then two processes would not find what one finds: that is undone. Folds
    side by side take fewer on purpose, as two threads do not go twice as fast as one.

    Args:
        accelerator: What it computes on: beside a GPU the launcher's number of threads stays.
        config: Of which `num_threads` decides, if given.
        beside: Processes that share the cores out, this one included.
    """
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    elif on_processor(accelerator.device) and os.environ.keys() & _LAUNCHED:
        cores = usable_cores()
        cores = min(cores, psutil.cpu_count(logical=False) or cores)
        torch.set_num_threads(max(1, cores // beside))


@contextmanager
def others_needed() -> Iterator[None]:
    """Explain the error that follows when another process of the launch has ended.

    Raises:
        RunError: Instead of what the library of processes raises.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, TransferError) or not _GONE.search(str(error)):
            raise
        raise RunError(
            "Another process of this launch has ended, so this one cannot continue. See that one's message; "
            "without one, it was killed. Finished work is kept: run the same command again to resume."
        ) from error


def _backend() -> str | None:
    """The communication backend; None leaves the choice to Accelerate.

    A small model does not fill a GPU, so that several processes on folds of their own may share one:
    launch more of them than there are GPUs. NCCL refuses two on one device.
    """
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return "gloo" if 0 < torch.accelerator.device_count() < processes else None


def fold_parallel(config: RunConfig, accelerator: Accelerator, num_units: int) -> bool:
    """Whether each process takes whole folds: as asked, or if there are enough for all."""
    if config.parallel == "auto":
        return num_units >= int(accelerator.num_processes)
    return config.parallel == "folds"
