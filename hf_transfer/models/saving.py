"""Save a model for plain transformers and timm."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hf_transfer import _guard  # noqa: F401
from hf_transfer.layers.adapters import merged
from hf_transfer.models.base_model import quiet


def save_model(model: Any, folder: Path, state: Mapping[str, Tensor] | None = None) -> None:
    """Write safetensors that plain transformers loads, and timm too if it has the architecture.

    Args:
        model: Of either.
        folder: Where to.
        state: Its tensors that are written; all when not given.
    """
    model = merged(model)  # or it would need peft
    model.to(memory_format=torch.contiguous_format)
    # timm knows nothing of transformers' wrapper, which takes its own prefix off only from what had none.
    if hasattr(model, "timm_model"):
        whole = model.state_dict() if state is None else state
        state = {name.removeprefix("timm_model."): tensor for name, tensor in whole.items()}
    with quiet():
        model.save_pretrained(folder, state_dict=state)
