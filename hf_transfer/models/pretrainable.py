"""Open a base model with the head of a task without labels, and save it as a base model again."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModel, PretrainedConfig

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ModelError
from hf_transfer.layers.groups import layer_groups
from hf_transfer.machine.files import write_json
from hf_transfer.machine.parsing import parse_json
from hf_transfer.models.base_model import BaseModel, quiet, why
from hf_transfer.models.kinds import wrong_kind
from hf_transfer.models.loading import new_weights
from hf_transfer.models.mean_classifier import files_of
from hf_transfer.models.saving import save_model
from hf_transfer.models.sentence_modules import MODULES_FILE

_OF_LABELS = ("id2label", "label2id", "num_labels", "problem_type")
_NO_LABELS_OF_TIMM: dict[str, Any] = {"num_classes": 0, "label_names": []}
_UNUSABLE = (ValueError, RuntimeError, OSError, KeyError, TypeError, AttributeError, SafetensorError)


def open_for_pretraining(
    base: BaseModel, auto_class: Any, *, from_scratch: bool, allowed: Sequence[str] = (), **configured: Any
) -> tuple[Any, list[str]]:
    """Build a base model with the head of an Auto class, in float32; torch's RNG draws what is new.

    Args:
        base: The base model.
        auto_class: Of transformers.
        from_scratch: Whether all weights are new.
        allowed: Ends of the names of weights below the head that a checkpoint may lack.
        configured: Changes to its configuration.

    Returns:
        The model, and the names of the weights that the checkpoint lacks; none if it has no weights at all.

    Raises:
        ModelError: If transformers has no such head for it, or the checkpoint lacks weights below the head.
    """
    config = type(base.config).from_dict(base.config.to_dict(), **configured)
    try:
        with quiet():
            if from_scratch or not base.has_weights:
                return auto_class.from_config(config, dtype=torch.float32), []
            model, report = auto_class.from_pretrained(
                base.location,
                config=config,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **base.hub_options,
            )
    except _UNUSABLE as error:
        raise ModelError(
            wrong_kind(base.name, base.config, auto_class)
            or f"base_model={base.name!r} cannot be built as {auto_class.__name__}: {why(error)}"
        ) from error
    new = sorted(new_weights(report))
    _check_encoder(
        base,
        model,
        [name for name in new if not name.endswith((*allowed, "pooler.dense.weight", "pooler.dense.bias"))],
    )
    return model, new


def _check_encoder(base: BaseModel, model: Any, new: Sequence[str]) -> None:
    """Refuse new weights below the head, as random layers would pass for pretrained ones."""
    below = [name for name in new if name.startswith(_prefix(model)) or model.base_model is model]
    if below:
        raise ModelError(
            f"base_model={base.name!r} lacks {len(below)} weights below the head "
            f"({', '.join(below[:3])}, …): it was saved without them. Give another model, or add "
            "--pretrain_from_scratch."
        )


def _prefix(model: Any) -> str:
    return f"{model.base_model_prefix}."


def save_pretrained(model: Any, base: BaseModel, folder: Path, *, keep_new: bool, from_scratch: bool) -> None:
    """Write a model with all that makes it a base model as its own was: its pooler, its way of pooling.

    Args:
        model: That went on learning.
        base: What it came from.
        folder: Where to.
        keep_new: Whether weights that the base model lacks have learned.
        from_scratch: Whether nothing of the base model is in it.
    """
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if not from_scratch and base.has_weights:
        pooler, lacking = _pooler(base)
        if not keep_new:
            state = {name: tensor for name, tensor in state.items() if name not in lacking}
        before = "" if model.base_model is model else _prefix(model)
        state |= {f"{before}{name}": tensor for name, tensor in pooler.items() if keep_new}
    with quiet():
        model.save_pretrained(folder, state_dict=state)
    _copy_pooling(base, folder)


def save_backbone(model: Any, base: BaseModel, folder: Path, *, from_scratch: bool) -> None:
    """Write a classifier without what has an output for each label, as a base model for any labels.

    Args:
        model: From the kit's `build_model`.
        base: What it came from.
        folder: Where to.
        from_scratch: Whether nothing of the base model is in it.
    """
    config, head = model.config, layer_groups(model)[-1].parameters
    top = {name for name in head if len(model.get_parameter(name)) == config.num_labels}
    state = {name: t.contiguous() for name, t in model.state_dict().items() if name not in top}
    if not from_scratch and not base.is_timm:
        before = "" if model.base_model is model else _prefix(model)
        state = {f"{before}{name}": tensor for name, tensor in _pooler(base)[0].items()} | state
    said = {name: value for name, value in config.to_dict().items() if name not in _OF_LABELS}
    model.config = type(config).from_dict(said | (_NO_LABELS_OF_TIMM if base.is_timm else {}))
    save_model(model, folder, state)


def _pooler(base: BaseModel) -> tuple[Mapping[str, Tensor], list[str]]:
    """Weights above an encoder's last layer that a language model leaves out, and those that it lacks."""
    with quiet():
        encoder, report = AutoModel.from_pretrained(
            base.location, dtype=torch.float32, output_loading_info=True, **base.hub_options
        )
    lacking = new_weights(report)
    state = encoder.state_dict()
    return {n: t for n, t in state.items() if n.startswith("pooler.") and n not in lacking}, lacking


def _copy_pooling(base: BaseModel, folder: Path) -> None:
    """Say how texts are pooled, as the base model does in the layout of sentence-transformers."""
    if base.sentence.pooling is None:
        return
    find = files_of(base.location, base.hub_options)
    listed = find(MODULES_FILE)
    modules = parse_json(listed.read_text(encoding="utf-8"))[:2] if listed else []
    write_json(folder / MODULES_FILE, modules)
    name = f"{modules[1]['path']}/config.json"
    if found := find(name):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_json(folder / name, parse_json(found.read_text(encoding="utf-8")))


def masked_picture_config(config: PretrainedConfig) -> dict[str, int]:
    """By how many pixels the last layer's places lie apart, which the head that draws pixels must know."""
    patch = int(config.patch_size)
    return {"encoder_stride": patch * 2 ** (len(getattr(config, "depths", [0])) - 1)}
