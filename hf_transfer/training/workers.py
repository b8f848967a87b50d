"""How processes share the work: each trains its own folds, or all share every batch."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psutil
import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs, gather_object
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ConfigError, RunError, TransferError
from hf_transfer.machine.allocator import keep_freed_memory
from hf_transfer.machine.devices import on_processor
from hf_transfer.machine.environment import local_processes, usable_cores
from hf_transfer.machine.memory import attempt, explained
from hf_transfer.machine.processes import LOST
from hf_transfer.training.moments import make_moments

# For what processes send each other while they share batches; who waits for others' folds waits in
# `wait_for_all`, which has no limit while they live.
PATIENCE = timedelta(minutes=30)
_MEET_BY_ANY = {"cuda", "xpu", "hpu"}  # elsewhere Accelerate takes the device's own library, or fails
_BUCKET = 2**24  # numbers of gradients that travel at a time
_FIRST_SCALE = 2.0**16  # of fp16, as torch has it
_LAUNCHED = {"ACCELERATE_MIXED_PRECISION", "LOCAL_WORLD_SIZE"}  # set by accelerate launch, and by torchrun
# How gloo, the store and NCCL put it. Of these, NCCL's watchdog alone ends a process without an exception.
_GONE = re.compile(
    r"connection (closed|reset) by (remote )?peer|remote (worker crashing|process exited)|broken pipe|"
    r"socket timeout|timed out waiting \d+ms|pair closure|nccl ?(remote|system|internal) ?error|"
    r"nccl communicator was aborted|watchdog caught collective operation timeout",
    re.IGNORECASE,
)


class Workers:
    """The processes that share one piece of work.

    Args:
        accelerator: Where to run.
        together: Whether all processes share each batch, or this one works alone.
        sharded: Whether each of them holds a part of the model only, when together.
    """

    def __init__(self, accelerator: Accelerator, *, together: bool, sharded: bool = False) -> None:
        self.accelerator = accelerator
        self.together = together and accelerator.num_processes > 1
        self.sharded = sharded and self.together
        self.rank = accelerator.process_index if self.together else 0
        self.size = accelerator.num_processes if self.together else 1
        self.line = 0 if self.together else accelerator.process_index  # of its progress bar on the screen

    @property
    def birthplace(self) -> torch.device:
        """Where models are built: in main memory if they are to be shared out."""
        return torch.device("cpu") if self.sharded else self.accelerator.device

    def prepare(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, Any]:
        """Move model and optimizer to the device, with mixed precision; a sharded model is there already.

        The optimizer has all its memory then. Accelerate is not told of it: it divides the gradients of each
        optimizer that it knows by the scale of fp16, those of a phase before as well.

        Raises:
            ShortOfMemoryError: If they do not fit there.
        """
        if not self.sharded:
            # "For evaluation", as Accelerate calls it, is without DDP around it: see `sum_gradients`.
            model = self.accelerator.prepare_model(model, evaluation_mode=True)
        wrapped = AcceleratedOptimizer(optimizer, scaler=self.accelerator.scaler)
        attempt(lambda: make_moments(optimizer), "as the optimizer's moments were made", tries=2)
        return model, wrapped

    @contextmanager
    def at_piece(self, model: nn.Module, *, last: bool) -> Iterator[None]:
        """Keep gradients of shards until the last piece of a batch, when they travel."""
        if self.sharded:
            model.set_requires_gradient_sync(last)  # type: ignore[operator]
        yield

    def sum_gradients(self, model: nn.Module) -> None:
        """Sum the gradients of all processes that work together, and average running statistics.

        Not by DDP, which sends while it computes: a process that runs out of memory in the middle would
        leave the others waiting. Nor does this name a device, so that processes may outnumber them.
        """
        if not self.together:
            return
        if not self.sharded:  # shards are summed on the way
            self._sum([p.grad for p in model.parameters() if p.grad is not None])
        moving = [m for m in model.modules() if m.training and getattr(m, "running_mean", None) is not None]
        statistics = [b for m in moving for b in m.buffers(recurse=False) if b.is_floating_point()]
        self._sum(statistics)
        for buffer in statistics:
            buffer.div_(self.size)

    def _sum(self, tensors: list[Tensor]) -> None:
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.flatten() for tensor in bucket])
            dist.all_reduce(flat)
            parts = torch.split(flat, [tensor.numel() for tensor in bucket])
            for tensor, part in zip(bucket, parts, strict=True):
                tensor.copy_(part.view_as(tensor))

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

    def most(self, number: int) -> int:
        """The largest of the numbers of all processes that work together."""
        return int(max(self.gather([number])))

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


def _buckets(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one type together, up to a size."""
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        bucket: list[Tensor] = []
        for tensor in (tensor for tensor in tensors if tensor.dtype == dtype):
            if bucket and sum(one.numel() for one in bucket) + tensor.numel() > _BUCKET:
                yield bucket
                bucket = []
            bucket.append(tensor)
        yield bucket


def make_accelerator(config: RunConfig) -> Accelerator:
    """Make the Accelerator; processes that train folds side by side share the cores.

    Raises:
        ConfigError: If the launcher plans another way to share a model, or started more processes than
            there are devices to share each batch.
    """
    _check_plan()
    _check_devices(config)
    AcceleratorState._shared_state = {}  # or all in this process had the precision of the first
    accelerator = Accelerator(
        # Without a GPU, several processes join (through gloo) only when told that they are on processors.
        cpu=not torch.accelerator.is_available(),
        mixed_precision=config.mixed_precision,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE, backend=_backend())],
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


def _check_plan() -> None:
    """Stop where the launcher's plan would take the model apart in a way of its own.

    Raises:
        ConfigError: Naming the flag that does.
    """
    for name, plan in (("ACCELERATE_USE_DEEPSPEED", "DeepSpeed"), ("ACCELERATE_USE_FSDP", "FSDP")):
        if os.environ.get(name, "").lower() == "true":
            version = f" (version {os.environ.get('FSDP_VERSION', '1')})" if plan == "FSDP" else ""
            raise ConfigError(
                f"This launch plans {plan}{version}, by its configuration or {name}, and the kit shares a "
                "model in its own way. Launch without that plan and pass --parallel fsdp, which is FSDP2."
            )


def _check_devices(config: RunConfig) -> None:
    """Stop where processes would share a device and a batch too, which gains nothing.

    Raises:
        ConfigError: Saying how many processes there may be.
    """
    processes, devices = local_processes(), torch.accelerator.device_count()
    if config.parallel in {"data", "fsdp"} and 0 < devices < processes:
        raise ConfigError(
            f"parallel={config.parallel!r} takes a device for each process, and {processes} processes have "
            f"{devices} here. Launch {devices}, or let each train whole folds: --parallel folds."
        )


@contextmanager
def others_needed() -> Iterator[None]:
    """Explain what comes when another process of the launch has ended, or memory ended in this one alone.

    Raises:
        RunError: Instead of what the library of processes raises.
    """
    try:
        with explained("where processes share the work"):
            yield
    except RuntimeError as error:
        gone = isinstance(error, dist.DistError) or _GONE.search(str(error))
        if isinstance(error, TransferError) or not gone:
            raise
        raise RunError(LOST) from error


def _backend() -> str | None:
    """The communication backend; None leaves the choice to Accelerate.

    A small model does not fill a GPU, so that several processes on folds of their own may share one:
    launch more of them than there are GPUs. NCCL refuses two on one device.
    """
    device, crowded = torch.accelerator.current_accelerator(), _devices_are_shared()
    return "gloo" if crowded and device is not None and device.type in _MEET_BY_ANY else None


def _devices_are_shared() -> bool:
    return 0 < torch.accelerator.device_count() < local_processes()


def shares_model(config: RunConfig, accelerator: Accelerator) -> bool:
    """Whether each process keeps a part of the model only."""
    return config.parallel == "fsdp" and int(accelerator.num_processes) > 1


def fold_parallel(config: RunConfig, accelerator: Accelerator, num_units: int) -> bool:
    """Whether each process takes whole folds: as asked, or if there are enough for all.

    Processes that outnumber the devices always do, unless told otherwise.
    """
    if config.parallel == "auto":
        return _devices_are_shared() or num_units >= int(accelerator.num_processes)
    return config.parallel == "folds"
