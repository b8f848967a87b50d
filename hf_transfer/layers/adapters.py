"""Adapters (LoRA): small trained matrices beside frozen attention weights, made by peft."""

import copy
import re
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import LayerSelectionError
from hf_transfer.layers.groups import layer_groups

USUAL_RANK = 8
_SCALE = 2  # of what an adapter adds, whatever its rank: lora_alpha is twice the rank
_ADAPTED = re.compile(r"\+lora(?::(\d+))?(?=\+|$)")
# What attention calls its queries and values, in one matrix or two. Keys gain least by an adapter.
_QUERIES_AND_VALUES = re.compile(
    r"(^|.*\.)(\w*attention|\w*attn)(\..+)?\."
    r"(q|v|query|value|q_proj|v_proj|q_lin|v_lin|query_proj|value_proj|in_proj|qkv|Wqkv|query_key_value|"
    r"c_attn)"
)


def adapter_rank(trainable: str) -> int | None:
    """Rank of the adapters in `trainable`: 8 in `head+lora`, 4 in `head+lora:4`.

    Raises:
        LayerSelectionError: If it is 0.
    """
    match = _ADAPTED.search(trainable)
    if match is None:
        return None
    rank = int(match[1] or USUAL_RANK)
    if rank < 1:
        raise LayerSelectionError(
            f"trainable={trainable!r} asks for adapters of rank {rank}; use 1 or more, such as "
            f"+lora:{USUAL_RANK}."
        )
    return rank


def is_adapter(parameter: str) -> bool:
    """Whether a parameter of this name belongs to an adapter."""
    return ".lora_A." in parameter or ".lora_B." in parameter


def has_adapters(model: nn.Module) -> bool:
    """Whether a model has adapters."""
    return any(is_adapter(name) for name, _ in model.named_parameters())


def adaptable(model: nn.Module) -> list[str]:
    """Names of the layers that get adapters: queries and values of the attention in every block."""
    blocks = {name for group in layer_groups(model)[1:-1] for name in group.modules}
    return [
        name
        for name, module in model.named_modules()
        if name in blocks and isinstance(module, (nn.Linear, Conv1D)) and _QUERIES_AND_VALUES.fullmatch(name)
    ]


def add_adapters(model: nn.Module, rank: int) -> None:
    """Add adapters to the queries and values of every block; existing adapters stay.

    They begin by adding nothing. Their first matrix is drawn from torch's current seed.

    Raises:
        LayerSelectionError: If peft is not installed, or the model has no such layers.

    References:
        Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022,
        https://arxiv.org/abs/2106.09685.
    """
    if has_adapters(model):
        return
    names = adaptable(model)
    if not names:
        raise LayerSelectionError(
            "+lora puts adapters beside the queries and values of attention, and this model has no such "
            "linear layers. Leave +lora out; last:50% trains the upper half instead."
        )
    peft = _require_peft()
    turned = isinstance(model.get_submodule(names[0]), Conv1D)  # GPT-2's matrices lie the other way
    adapters = peft.LoraConfig(r=rank, lora_alpha=_SCALE * rank, target_modules=names, fan_in_fan_out=turned)
    peft.inject_adapter_in_model(adapters, model)


def merged(model: nn.Module) -> nn.Module:
    """A copy of the model with its adapters merged into the weights; the model itself without adapters."""
    if not has_adapters(model):
        return model
    plain = copy.deepcopy(model)
    for name, module in list(plain.named_modules()):
        if hasattr(module, "lora_A"):
            layer: Any = module
            layer.merge()
            plain.set_submodule(name, layer.get_base_layer())
    plain.__dict__.pop("peft_config", None)
    return plain


def peft_installed() -> bool:
    """Whether peft is installed, which makes adapters."""
    try:
        _require_peft()
    except LayerSelectionError:
        return False
    return True


def _require_peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise LayerSelectionError('+lora needs peft: pip install "hf-transfer-kit[adapters]".') from error
    return peft
