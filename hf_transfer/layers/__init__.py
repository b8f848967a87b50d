"""A model as an ordered stack of layer groups, and freezing that holds through `model.train()`.

Nothing here needs the rest of the kit:

    freeze(model, "last:4")
    optimizer = torch.optim.AdamW(parameter_groups(model, learning_rate=3e-5, layer_decay=0.9))
"""

from hf_transfer import _guard  # noqa: F401
from hf_transfer.layers.adapters import adaptable, has_adapters, merged, peft_installed
from hf_transfer.layers.freezing import (
    Freezing,
    freeze,
    freeze_table,
    frozen_hash,
    moving_tensors,
    parameter_groups,
    tensor_digest,
    trained_hash,
)
from hf_transfer.layers.groups import LayerGroup, layer_groups

__all__ = [
    "Freezing",
    "LayerGroup",
    "adaptable",
    "freeze",
    "freeze_table",
    "frozen_hash",
    "has_adapters",
    "layer_groups",
    "merged",
    "moving_tensors",
    "parameter_groups",
    "peft_installed",
    "tensor_digest",
    "trained_hash",
]
