"""Optimizer and RNG state needed to resume training, as plain tensors."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.layers.shards import is_shard
from hf_transfer.machine.devices import on_processor
from hf_transfer.training.checkpoint import State
from hf_transfer.training.workers import Workers

_MOMENTS = ("exp_avg", "exp_avg_sq", "momentum_buffer")  # which have a parameter's shape


def to_keep(tensor: Tensor) -> Tensor:
    """A tensor for a checkpoint: on a processor, unless it is a shard, which is written from where it is."""
    return tensor.detach() if is_shard(tensor) else tensor.detach().cpu()


def optimizer_tensors(optimizer: Any, workers: Workers) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """The optimizer's moments and step counts, and the loss scale of fp16.

    Args:
        optimizer: As Accelerate has prepared it.
        workers: The processes at work.
    """
    state = optimizer.optimizer.state_dict()["state"]
    tensors = {
        f"optimizer.{number}.{name}": to_keep(value)
        for number, values in state.items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }
    scaler = workers.accelerator.scaler
    return tensors, None if scaler is None else scaler.state_dict()


def restore_optimizer(optimizer: Any, state: State, workers: Workers) -> None:
    """Load what `optimizer_tensors` saved into a new optimizer."""
    own = optimizer.optimizer
    parameters = [p for group in own.param_groups for p in group["params"]]
    like = {f"optimizer.{i}.{name}": p for i, p in enumerate(parameters) for name in _MOMENTS}
    for key, saved in (state.tensors | state.shards(like)).items():
        if key.startswith("optimizer."):
            _, number, name = key.split(".", 2)
            parameter = parameters[int(number)]
            own.state[parameter][name] = _laid_out(saved, parameter)
    if state.values["scale"] is not None and workers.accelerator.scaler is not None:
        workers.accelerator.scaler.load_state_dict(state.values["scale"])


def _laid_out(saved: Tensor, parameter: Tensor) -> Tensor:
    """Copy a saved tensor to its parameter's device and memory layout, which the fused kernel relies on."""
    if saved.shape == parameter.shape:
        return torch.empty_like(parameter, dtype=saved.dtype, requires_grad=False).copy_(saved)
    return saved.to(parameter.device)


def own_random_state(device: torch.device) -> dict[str, Tensor]:
    """RNG state of this process, on a processor and on a device."""
    own = {"cpu": torch.get_rng_state()}
    if not on_processor(device):
        own["device"] = torch.get_device_module(device).get_rng_state(*_which(device))
    return own


def set_random_state(own: Mapping[str, Tensor], device: torch.device) -> None:
    """Set the RNG state of this process to one that `own_random_state` gave."""
    torch.set_rng_state(own["cpu"])
    if not on_processor(device) and "device" in own:
        torch.get_device_module(device).set_rng_state(own["device"], *_which(device))


def _which(device: torch.device) -> list[torch.device]:
    """Which of a module's devices is meant: of Apple's there is one."""
    return [] if device.type == "mps" else [device]


class Undo:
    """Takes back what a failed try at an update has changed: gradients, draws, running statistics.

    Args:
        optimizer: Of the weights.
        tensors: Of the model, of which parameters are left alone: only a step moves them.
        device: Where it learns.
    """

    def __init__(self, optimizer: Any, tensors: Iterable[Tensor], device: torch.device) -> None:
        self.optimizer, self.device = optimizer, device
        self.statistics = [tensor for tensor in tensors if not isinstance(tensor, nn.Parameter)]
        self.kept = [tensor.clone() for tensor in self.statistics]

    def keep(self) -> None:
        """Take note of how it stands before an update."""
        self.random = own_random_state(self.device)
        if self.kept:
            torch._foreach_copy_(self.kept, self.statistics)

    def __call__(self) -> None:
        """Put all back as it stood then."""
        self.optimizer.zero_grad()
        set_random_state(self.random, self.device)
        if self.kept:
            torch._foreach_copy_(self.statistics, self.kept)


def random_state(workers: Workers) -> dict[str, Tensor]:
    """RNG state of every process, which dropout depends on; all processes must call this."""
    states = workers.gather([own_random_state(workers.accelerator.device)])
    return {f"random.{rank}.{name}": t for rank, own in enumerate(states) for name, t in own.items()}


def restore_random_state(state: State, workers: Workers) -> None:
    """Restore the RNG state of this process."""
    own = f"random.{workers.rank}."
    found = {name.removeprefix(own): t for name, t in state.tensors.items() if name.startswith(own)}
    set_random_state(found, workers.accelerator.device)
