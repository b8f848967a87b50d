"""Take pictures of another size than a model was made for (`--image_size`)."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ModelError
from hf_transfer.models.base_model import BaseModel, quiet, require_timm

_ADVICE = "Leave image_size out, or take a model that can, such as a ViT or a ResNet."


def sized_config(base: BaseModel, config: PretrainedConfig) -> PretrainedConfig:
    """A model's configuration with the size of pictures that was asked for, if one was.

    Raises:
        ModelError: If its patches do not fill such a picture, or it says that its size is fixed.
    """
    if base.image_size is None:
        return config
    sized = deepcopy(config)
    if base.is_timm:
        _size_timm(base, sized)
        return sized
    seeing = getattr(sized, "vision_config", sized)
    _check_patches(base, getattr(seeing, "patch_size", None))
    if hasattr(seeing, "image_size"):
        seeing.image_size = base.image_size
    return sized


def resized(
    model: Any, base: BaseModel, config: PretrainedConfig, make: Callable[[PretrainedConfig], Any]
) -> Any:
    """Give a model's weights to one of the size that was asked for; its positions are interpolated.

    Args:
        model: Of the size that it was made for.
        base: The base model.
        config: From `sized_config`.
        make: Makes a model of a configuration.

    Raises:
        ModelError: If another of its weights depends on the size.
    """
    if base.image_size is None:
        return model
    other = make(config)
    if base.is_timm and hasattr(model.timm_model, "set_input_size"):
        model.timm_model.set_input_size(img_size=base.image_size)
    own = other.state_dict()
    numbers = {name: ids for name, ids in own.items() if name.endswith("position_ids")}
    weights = model.state_dict() | numbers | dict(_positions(model, other, base.image_size))
    shapes = {name: tensor.shape for name, tensor in own.items()}
    stuck = [name for name, shape in shapes.items() if name not in weights or weights[name].shape != shape]
    if stuck:
        raise ModelError(
            f"image_size={base.image_size}: base_model={base.name!r} takes pictures of one size only, which "
            f"{stuck[0]} is made for, and it cannot be interpolated. {_ADVICE}"
        )
    nn.Module.load_state_dict(other, weights)
    return other


def size_processor(processor: Any, size: int) -> None:
    """Let an image processor of transformers give pictures of a size; it resizes and crops in proportion."""
    crops = getattr(processor, "do_center_crop", False) and getattr(processor, "crop_size", None)
    before, crop = dict(processor.size), dict(crops or {})
    whole = min((crop or before).values())
    processor.size = {side: round(pixels * size / whole) for side, pixels in before.items()}
    if crop:
        processor.crop_size = dict.fromkeys(crop, size)


def _size_timm(base: BaseModel, config: Any) -> None:
    cfg = dict(config.pretrained_cfg or {})
    args = dict(config.model_args or {})
    with quiet(), torch.device("meta"):
        model = require_timm().create_model(config.architecture, **args)
    if hasattr(model, "set_input_size"):
        embedding = getattr(model, "patch_embed", None)
        _check_patches(base, getattr(embedding, "patch_size", None))
        args["img_size"] = base.image_size
    elif cfg.get("fixed_input_size"):
        raise ModelError(
            f"image_size={base.image_size}: base_model={base.name!r} takes pictures of one size only, as "
            f"timm says ({config.architecture}, fixed_input_size). {_ADVICE}"
        )
    channels = (cfg.get("input_size") or (3,))[0]
    cfg["input_size"] = [channels, base.image_size, base.image_size]
    config.pretrained_cfg, config.model_args = cfg, args


def _check_patches(base: BaseModel, patch: Any) -> None:
    side = max(patch) if isinstance(patch, (tuple, list)) and patch else patch
    size = base.image_size or 0
    if isinstance(side, int) and side and size % side:
        below = max(size // side, 1) * side
        raise ModelError(
            f"image_size={size}: base_model={base.name!r} reads patches of {side} pixels. Give a multiple of "
            f"it, such as {below} or {below + side}."
        )


def _positions(model: nn.Module, other: nn.Module, size: int) -> Iterator[tuple[str, Tensor]]:
    """Tables of positions of a transformers model, interpolated by the model's own rule."""
    for name, module in model.named_modules():
        if not hasattr(module, "interpolate_pos_encoding"):
            continue
        for table in ("position_embeddings", "position_embedding.weight"):
            key = f"{name}.{table}".lstrip(".")
            old, new = (dict(one.named_parameters()).get(key) for one in (model, other))
            if old is None or new is None or old.shape == new.shape:
                continue
            rows = new.new_empty((1, new.shape[-2], new.shape[-1]))  # only its shape is read
            with torch.no_grad(), suppress(RuntimeError, TypeError):  # PVT's takes other arguments
                yield key, module.interpolate_pos_encoding(rows, size, size).reshape(new.shape)
