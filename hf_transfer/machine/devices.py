"""Put models on the device that computes."""

import torch
from torch import nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.memory import attempt


def placed(model: nn.Module, device: torch.device) -> nn.Module:
    """Move a model to a device, in channels-last layout, in which convolutions run fastest.

    Raises:
        ShortOfMemoryError: If it does not fit there.
    """
    when = "as a model was moved to the device"
    return attempt(lambda: model.to(device).to(memory_format=torch.channels_last), when)
