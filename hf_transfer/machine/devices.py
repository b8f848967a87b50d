"""The device that computes: put models there, and what tells it from others."""

import torch
from torch import nn
from torch.utils._foreach_utils import _get_fused_kernels_supported_devices

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.environment import device_name
from hf_transfer.machine.memory import attempt


def placed(model: nn.Module, device: torch.device) -> nn.Module:
    """Move a model to a device, in channels-last layout, in which convolutions run fastest.

    Raises:
        ShortOfMemoryError: If it does not fit there.
    """
    when = "as a model was moved to the device"
    return attempt(lambda: model.to(device).to(memory_format=torch.channels_last), when)


def on_processor(device: torch.device) -> bool:
    """Whether a device is the processor, whose memory is the host's and for which nobody waits."""
    return device.type == "cpu"


def arithmetic_of(device: torch.device) -> str:
    """What decides the last bits of what a device computes: a processor, or the accelerator's model."""
    return device.type if on_processor(device) else device_name(device)


def fuses_updates(device: torch.device) -> bool:
    """Whether an optimizer has one kernel for a whole update there."""
    return device.type in _get_fused_kernels_supported_devices()
