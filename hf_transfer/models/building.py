"""Build a model from an opened base model, with a head for the labels at hand."""

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    PretrainedConfig,
)

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ModelError
from hf_transfer.layers.groups import LayerGroup, layer_groups
from hf_transfer.machine.collection import no_collection
from hf_transfer.models.base_model import (
    UNUSABLE,
    WEIGHTS,
    BaseModel,
    first_line,
    open_base_model,
    quiet,
    require_timm,
    why,
)
from hf_transfer.models.image_size import resized, sized_config
from hf_transfer.models.kinds import wrong_kind
from hf_transfer.models.loading import new_weights
from hf_transfer.models.mean_classifier import MeanClassifier
from hf_transfer.models.sound_classifier import SoundClassifier

_POOLINGS = {"mean": "mean", "cls": "first"}  # of a checkpoint, as the setting calls them


def text_classifier(base: BaseModel, settings: RunConfig) -> tuple[Any, dict[str, Any]]:
    """Choose the class and configuration of a text classifier, by the pooling asked for.

    With `auto` that is the pooling which the checkpoint was made for, where it says so; where it does not,
    the model's own classifier stays as it is.

    Raises:
        ModelError: If the mean is asked for, and the model has a decoder too.
    """
    pooling = _POOLINGS.get(base.sentence.pooling or "") if settings.pooling == "auto" else settings.pooling
    if pooling and hasattr(base.config, "classifier_pooling"):
        first = "bos" if base.config.model_type == "eurobert" else "cls"
        chosen = {"classifier_pooling": first if pooling == "first" else pooling}
        return AutoModelForSequenceClassification, chosen
    if pooling != "mean" or (settings.pooling == "auto" and base.config.is_encoder_decoder):
        return AutoModelForSequenceClassification, {}
    if base.config.is_encoder_decoder:
        raise ModelError(
            f"pooling='mean' takes an encoder alone, and base_model={base.name!r} has a decoder too. Use "
            "--pooling first, or another model."
        )
    return MeanClassifier, {}


def build_model(
    base: BaseModel, auto_class: Any, label_names: Sequence[str], settings: RunConfig, **configured: Any
) -> nn.Module:
    """Build the model in float32, with a head for `label_names`; torch's RNG draws the new weights.

    Args:
        base: From `open_base_model`.
        auto_class: The task's Auto class of transformers.
        label_names: In the order of their ids.
        settings: Of which `from_scratch` and `reinit_top` are used.
        configured: Changes to the model's configuration.

    Raises:
        ModelError: If the checkpoint is for another task, or lacks weights, or those below the head.
    """
    if not (base.has_weights or settings.from_scratch or base.named_without_weights):
        raise ModelError(
            wrong_kind(base.name, base.config, auto_class)
            or f"base_model={base.name!r} has no weights: no file is called {' or '.join(WEIGHTS)}. "
            "Save the model again, or pass --from_scratch to begin with random ones."
        )
    try:
        with quiet(), no_collection():  # the first model of a kind imports what makes it
            made_for = _with_labels(base, label_names, **configured)
            config = sized_config(base, made_for)
            if settings.from_scratch or not base.has_weights:
                return _random_model(base, auto_class, config)
            original = _pretrained_model(base, auto_class, made_for)
            model: nn.Module = resized(original, base, config, auto_class.from_config)
    except ModelError:
        raise
    except UNUSABLE as error:
        kind = wrong_kind(base.name, base.config, auto_class)
        what = f"base_model={base.name!r} cannot be built as {auto_class.__name__}: {why(error)}"
        raise ModelError(kind or what) from error
    if settings.reinit_top:
        _reinitialise_top(model, base, auto_class, config, settings.reinit_top)
    return model


def bare_model(settings: RunConfig) -> nn.Module:
    """Build a base model without weights, with a two-label head, to inspect its layers.

    Raises:
        ModelError: If it is not there, or made for no task of the kit.
    """
    base = open_base_model(settings)
    problem: Exception | None = None
    for auto_class, configured in _classifiers(base, settings):
        try:
            with quiet(), torch.device("meta"):
                config = _with_labels(base, ("a", "b"), **configured)
                return auto_class.from_config(config)  # type: ignore[no-any-return]
        except UNUSABLE as error:
            problem = error
    raise ModelError(
        f"base_model={base.name!r} has no classifier in transformers: {first_line(problem)}"
    ) from problem


def _classifiers(base: BaseModel, settings: RunConfig) -> Iterator[tuple[Any, dict[str, Any]]]:
    yield AutoModelForImageClassification, {}
    yield SoundClassifier, {}
    yield text_classifier(base, settings)


def longest_input(base: BaseModel) -> int | None:
    """Most tokens that a text model's positions can number; None where it has no limit."""
    positions = getattr(base.config.get_text_config(), "max_position_embeddings", None) or 0
    if positions < 1:  # XLNet says -1
        return None
    try:
        with quiet(), torch.device("meta"):
            model = AutoModel.from_config(base.config, trust_remote_code=base.trust_remote_code)
    except UNUSABLE:  # not by itself; its classifier tells why
        return int(positions)
    tables = (m for name, m in model.named_modules() if name.endswith("position_embeddings"))
    # RoBERTa and its kin number the places of a text from behind the padding id.
    skipped = [table.padding_idx + 1 for table in tables if getattr(table, "padding_idx", None) is not None]
    return int(positions) - max(skipped, default=0)


def _with_labels(base: BaseModel, label_names: Sequence[str], **configured: Any) -> PretrainedConfig:
    config = type(base.config).from_dict(
        base.config.to_dict(),
        num_labels=len(label_names),
        id2label={i: str(name) for i, name in enumerate(label_names)},
        label2id={str(name): i for i, name in enumerate(label_names)},
        **configured,
    )
    if "pad_token_id" in configured:
        config.get_text_config().pad_token_id = configured["pad_token_id"]
    if language := base.language:
        config.default_language = language
    if share := base.kept_share:
        config.classifier_dropout_prob = round(1 - share, 6)
    if base.is_timm:
        # transformers passes num_classes itself, and timm cannot read model_args that are null.
        config.model_args = {k: v for k, v in (config.model_args or {}).items() if k != "num_classes"}
        for stale in ("label_descriptions", "label_names"):
            config.__dict__.pop(stale, None)
    return config


def _pretrained_model(base: BaseModel, auto_class: Any, config: PretrainedConfig) -> nn.Module:
    if base.weights_file:
        return _timm_weights(base, auto_class, config)
    model, report = auto_class.from_pretrained(
        base.location,
        config=config,
        dtype=torch.float32,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
        **base.hub_options,
    )
    new = set(new_weights(report))
    head = layer_groups(model)[-1]
    _check_backbone(base, head, new)
    if [str(n) for n in (base.config.id2label or {}).values()] != list(config.id2label.values()):
        _reset_output(model, head, auto_class, config, new)
    return model  # type: ignore[no-any-return]


def _timm_weights(base: BaseModel, auto_class: Any, config: PretrainedConfig) -> nn.Module:
    """Load a timm architecture's weights from a safetensors file; a head of another size stays new."""
    from safetensors.torch import load_file

    model = _random_model(base, auto_class, config)
    own = model.state_dict()
    weights = load_file(str(base.weights_file)).items()
    given = {f"timm_model.{name.removeprefix('timm_model.')}": tensor for name, tensor in weights}
    fitting = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
    _check_backbone(base, layer_groups(model)[-1], own.keys() - fitting.keys())
    nn.Module.load_state_dict(model, fitting, strict=False)
    return model


def _check_backbone(base: BaseModel, head: LayerGroup, new: set[str]) -> None:
    """Refuse new weights below the head, as random layers would pass for pretrained ones."""
    below = sorted(new - set(head.parameters) - set(head.buffers))
    if below:
        raise ModelError(
            f"base_model={base.name!r} lacks {len(below)} weights below the head "
            f"({', '.join(below[:3])}, …): it was saved without them, as a model of "
            "another architecture or for another task. Give another model, or set from_scratch."
        )


def _reset_output(
    model: nn.Module, head: LayerGroup, auto_class: Any, config: PretrainedConfig, new: set[str]
) -> None:
    """Re-initialise an output layer of the same size but other labels: never remap by position."""
    sized = (name for name in head.parameters if model.get_parameter(name).shape[:1] == (config.num_labels,))
    if new.issuperset(sized):
        return  # the checkpoint had another size, or no head: a second model need not be made
    wider = _shapes(
        auto_class, config.__class__, config.to_json_string(use_diff=False), config.num_labels + 1
    )
    output = {name for name, p in model.named_parameters() if wider[name] != p.shape}
    for layer in sorted({name.rpartition(".")[0] for name in output - new}):  # each draws from torch's seed
        module = model.get_submodule(layer)
        nn.init.normal_(module.weight, std=getattr(config, "initializer_range", 0.02))  # type: ignore[arg-type]
        if module.bias is not None:
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]


@lru_cache(maxsize=16)  # the model of every fold asks for the same
def _shapes(auto_class: Any, kind: Any, config: str, labels: int) -> dict[str, torch.Size]:
    """Shape of each parameter of a model with that many labels, whose configuration is given as JSON."""
    with torch.device("meta"):
        model = auto_class.from_config(kind.from_dict(json.loads(config), num_labels=labels))
    return {name: p.shape for name, p in model.named_parameters()}


def _random_model(base: BaseModel, auto_class: Any, config: PretrainedConfig) -> nn.Module:
    model = auto_class.from_config(config, dtype=torch.float32)
    if base.is_timm:
        # The wrapper draws every layer anew with one width; timm's own start is the honest control.
        own = require_timm().create_model(
            config.architecture, num_classes=config.num_labels, **config.model_args
        )
        model.timm_model.load_state_dict(own.state_dict())
    return model  # type: ignore[no-any-return]


def _reinitialise_top(
    model: nn.Module, base: BaseModel, auto_class: Any, config: PretrainedConfig, blocks: int
) -> None:
    groups = layer_groups(model)
    if blocks > len(groups) - 2:
        raise ModelError(
            f"reinit_top={blocks} is more than the {len(groups) - 2} blocks of {base.name!r}. Lower it."
        )
    with quiet():
        fresh = _random_model(base, auto_class, config).state_dict()
    names = {name for group in groups[-1 - blocks : -1] for name in (*group.parameters, *group.buffers)}
    state = model.state_dict()
    with torch.no_grad():
        for name in names & state.keys():
            state[name].copy_(fresh[name])
