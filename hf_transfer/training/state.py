"""Optimizer and RNG state needed to resume training, as plain tensors."""

from typing import Any

import torch
from torch import Tensor

from hf_transfer import _guard  # noqa: F401
from hf_transfer.layers.shards import is_shard
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


def random_state(workers: Workers) -> dict[str, Tensor]:
    """RNG state of every process, which dropout depends on; all processes must call this."""
    device = workers.accelerator.device
    own = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        own["device"] = torch.cuda.get_rng_state(device)
    states = workers.gather([own])
    return {f"random.{rank}.{name}": t for rank, own in enumerate(states) for name, t in own.items()}


def restore_random_state(state: State, workers: Workers) -> None:
    """Restore the RNG state of this process."""
    torch.set_rng_state(state.tensors[f"random.{workers.rank}.cpu"])
    on_device = state.tensors.get(f"random.{workers.rank}.device")
    if on_device is not None and workers.accelerator.device.type == "cuda":
        torch.cuda.set_rng_state(on_device, workers.accelerator.device)
