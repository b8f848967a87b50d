"""Linear layers of many heads at once: one product if all heads read the same features."""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hf_transfer import _guard  # noqa: F401


class SharedInputs(AbstractContextManager[None]):
    """Context manager that replaces a module's linear layers.

    The heads of a fold read the same features, with weights of their own. Seen as one layer with the
    outputs of all, they need one product; taken one by one, the features would be copied for each head.

    Args:
        module: Whose `nn.Linear` layers to replace.
    """

    def __init__(self, module: nn.Module) -> None:
        self.layers = [layer for layer in module.modules() if type(layer) is nn.Linear]

    def __enter__(self) -> None:
        for layer in self.layers:
            layer.__dict__["forward"] = lambda x, own=layer: _Linear.apply(x, own.weight, own.bias)

    def __exit__(self, *_: object) -> None:
        for layer in self.layers:
            layer.__dict__.pop("forward", None)


class _Linear(torch.autograd.Function):
    """`torch.nn.functional.linear` with its own `vmap` rule."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return functional.linear(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, bias = inputs
        ctx.save_for_backward(x, weight)
        ctx.biased = bias is not None

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        x, weight = ctx.saved_tensors
        flat = gradient.flatten(0, -2)
        return gradient @ weight, flat.T @ x.flatten(0, -2), flat.sum(0) if ctx.biased else None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
        x, weight, bias = inputs
        heads, (of_x, of_weight, of_bias) = info.batch_size, in_dims
        if of_x is not None or of_weight is None or (bias is not None and of_bias is None):
            each: Tensor = torch.vmap(functional.linear, in_dims)(x, weight, bias)
            return each, 0
        # Outputs by features: in that order the gradient of the weights lies head by head.
        outputs = weight.movedim(of_weight, 0).flatten(0, 1) @ x.reshape(-1, x.shape[-1]).T
        if bias is not None:
            outputs = outputs + bias.movedim(of_bias, 0).reshape(-1, 1)
        by_head = outputs.reshape(heads, -1, outputs.shape[-1]).transpose(1, 2)
        return by_head.reshape(heads, *x.shape[:-1], by_head.shape[-1]), 0
