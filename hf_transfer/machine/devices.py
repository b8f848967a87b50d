"""The device that computes: put models there, its draws, and what tells it from others."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._foreach_utils import _get_fused_kernels_supported_devices

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.environment import device_name


def placed(model: nn.Module, device: torch.device) -> nn.Module:
    """Move a model to a device, in channels-last layout, in which convolutions run fastest."""
    return model.to(device).to(memory_format=torch.channels_last)


def on_processor(device: torch.device) -> bool:
    """Whether a device is the processor, whose memory is the host's and for which nobody waits."""
    return device.type == "cpu"


def arithmetic_of(device: torch.device) -> str:
    """What decides the last bits of what a device computes: a processor, or the accelerator's model."""
    return device.type if on_processor(device) else device_name(device)


def fuses_updates(device: torch.device) -> bool:
    """Whether an optimizer has one kernel for a whole update there."""
    return device.type in _get_fused_kernels_supported_devices()


def draws_of(device: torch.device) -> Tensor | None:
    """State of an accelerator's generator of random numbers; None for a processor."""
    if on_processor(device):
        return None
    state: Tensor = torch.get_device_module(device).get_rng_state(*_which(device))
    return state


def restore_draws(device: torch.device, state: Tensor | None) -> None:
    """Set the state of an accelerator's generator; nothing for a processor, or without a state."""
    if state is not None and not on_processor(device):
        torch.get_device_module(device).set_rng_state(state, *_which(device))


def _which(device: torch.device) -> list[Any]:
    """Which of a module's devices is meant; of Apple's there is one, and older versions ask for none."""
    return [] if device.type == "mps" else [device]
