"""The linear layer that computes the logits."""

from typing import Any

import torch
from torch import nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import LayerSelectionError
from hf_transfer.layers.groups import layer_groups


def output_layer(model: nn.Module, *, biased: bool = True) -> tuple[str, nn.Linear]:
    """The linear layer that computes the logits, and its name.

    Args:
        model: With its head.
        biased: Whether it must have a bias, which that of a decoder has not.

    Raises:
        LayerSelectionError: If there is none.
    """
    config: Any = model.config
    for name in reversed(layer_groups(model)[-1].modules):
        layer = model.get_submodule(name)
        if (
            isinstance(layer, nn.Linear)
            and layer.out_features == config.num_labels
            and (layer.bias is not None or not biased)
        ):
            return name, layer
    raise LayerSelectionError(
        "head_solver and head_start=probe need a model whose output is a linear layer with a bias; this one "
        "has none. Use head_solver=gradient and head_start=random."
    )


def divide_logits(model: nn.Module, temperature: float) -> bool:
    """Divide the output layer's weights, so that plain libraries give logits / temperature.

    Returns:
        Whether there is a layer that can be divided; else the model stays as it is.
    """
    try:
        layer = output_layer(model, biased=False)[1]
    except LayerSelectionError:
        return False
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.div_(temperature)
    return True
