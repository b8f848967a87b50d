"""The device that computes: put models there, what tells it from others, and its random draws."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from accelerate.utils import find_tied_parameters, retie_parameters
from torch import Tensor, nn
from torch.utils._foreach_utils import _get_fused_kernels_supported_devices

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.environment import device_name
from hf_transfer.machine.memory import attempt

_MOVING = "as a model was moved to the device"


def placed(model: nn.Module, device: torch.device) -> nn.Module:
    """Move a model to a device, in channels-last layout, in which convolutions run fastest.

    Raises:
        ShortOfMemoryError: If it does not fit there.
    """
    moved(model, device)
    return attempt(lambda: model.to(memory_format=torch.channels_last), _MOVING)


def moved(model: nn.Module, device: torch.device) -> nn.Module:
    """Move a model to a device, before an optimizer is made of its parameters.

    On a device that is not of PyTorch's own (an NPU) it has new parameters then, each its own, also where
    two were one: those are made one again.

    Raises:
        ShortOfMemoryError: If it does not fit there.
    """
    tied = find_tied_parameters(model)
    attempt(lambda: model.to(device), _MOVING)
    retie_parameters(model, tied)
    return model


def on_processor(device: torch.device) -> bool:
    """Whether a device is the processor, whose memory is the host's and for which nobody waits."""
    return device.type == "cpu"


def arithmetic_of(device: torch.device) -> str:
    """What decides the last bits of what a device computes: a processor, or the accelerator's model."""
    return device.type if on_processor(device) else device_name(device)


def fuses_updates(device: torch.device) -> bool:
    """Whether an optimizer has one kernel for a whole update there."""
    return device.type in _get_fused_kernels_supported_devices()


def has_doubles(device: torch.device) -> bool:
    """Whether it computes in double precision: Apple's do not."""
    return device.type != "mps"


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


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Run a block with a seed of its own, then go on with the draws from before, also on a device."""
    before = own_random_state(device)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        set_random_state(before, device)


def _which(device: torch.device) -> list[torch.device]:
    """Which of a module's devices is meant: of Apple's there is one."""
    return [] if device.type == "mps" else [device]
