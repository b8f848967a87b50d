"""Save a model for plain transformers and timm."""

from pathlib import Path
from typing import Any

import torch

from hf_transfer import _guard  # noqa: F401
from hf_transfer.layers.adapters import merged
from hf_transfer.models.base_model import quiet


def save_model(model: Any, folder: Path) -> None:
    """Write safetensors that plain transformers loads, and timm too if it has the architecture."""
    model = merged(model)  # or it would need peft
    model.to(memory_format=torch.contiguous_format)
    # timm knows nothing of transformers' wrapper, which takes its own prefix off only from what had none.
    state = {name.removeprefix("timm_model."): tensor for name, tensor in model.state_dict().items()}
    with quiet():
        model.save_pretrained(folder, state_dict=state if hasattr(model, "timm_model") else None)
