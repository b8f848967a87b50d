"""Base models: Hub id, local folder in the transformers or timm layout, `builtin:NAME`, `timm:ARCH`."""

import hashlib
import os
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    PretrainedConfig,
)
from transformers.utils import logging as transformers_logging

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ModelError
from hf_transfer.layers import LayerGroup, layer_groups, merged
from hf_transfer.machine.collection import no_collection
from hf_transfer.machine.network import hub_reachable
from hf_transfer.models.mean_classifier import MeanClassifier, files_of
from hf_transfer.models.sentence_modules import SentenceModules, read_modules

BUILTIN = {
    "digits-resnet": "image: a ResNet of 0.37 M parameters, pretrained on handwritten digits 0 to 4",
    "tiny-bert": "text: a BERT of two layers with random weights, not pretrained",
}


# What configurations and weights make libraries raise that are damaged or of another model.
_UNUSABLE = (
    ValueError, RuntimeError, OSError, KeyError, TypeError, AttributeError, ImportError, SafetensorError,
    UnpicklingError,
)  # fmt: skip
_POOLINGS = {"mean": "mean", "cls": "first"}  # of a checkpoint, as the setting calls them
_HIGHEST_DROPOUT = 0.9  # above, a network learns next to nothing
_HALF = 0.5


@dataclass(frozen=True)
class BaseModel:
    """Where a model's weights and configuration come from. Opened once, built anew for every fold."""

    name: str
    location: str
    config: PretrainedConfig
    revision: str | None
    trust_remote_code: bool
    has_weights: bool = True
    weights_file: str | None = None

    @property
    def is_timm(self) -> bool:
        """Whether transformers runs it through its wrapper of timm."""
        return bool(self.config.model_type == "timm_wrapper")

    @property
    def architecture(self) -> str:
        """Give its name in timm or transformers."""
        return str(self.config.architecture if self.is_timm else self.config.model_type)

    @cached_property
    def sentence(self) -> SentenceModules:
        """What it says as a model of sentence-transformers; nothing, if it is none.

        Raises:
            ModelError: If that is damaged, or the Hub does not answer.
        """
        try:
            return read_modules(files_of(self.location, _hub_options(self)))
        except (ValueError, OSError) as error:
            raise ModelError(
                f"base_model={self.name!r} does not say how its tokens are pooled: {first_line(error)} Save "
                "the model again, or give --pooling first, which does not ask."
            ) from error

    def load(self, loader: Any, **options: Any) -> Any:
        """Call `loader.from_pretrained` on this model's files: a tokenizer or an image processor.

        Raises:
            ModelError: If the files are not there or not usable.
        """
        with quiet():
            try:
                return loader.from_pretrained(self.location, **_hub_options(self), **options)
            except (OSError, ValueError, KeyError, TypeError) as error:
                what = loader.__name__.removeprefix("Auto")
                reason = _why(error) if "custom code" in str(error) else first_line(error)
                raise ModelError(
                    f"base_model={self.name!r} has no usable {what}: {reason} Save it into the model's "
                    "folder, or take a model for this task."
                ) from error


def open_base_model(settings: RunConfig) -> BaseModel:
    """Find a base model and read its configuration, not yet its weights.

    Raises:
        ModelError: If it is not there, cannot be reached, or its configuration is not readable.
    """
    name = settings.base_model
    if not name:
        raise ModelError(f"No base_model is given. {_advice()}")
    if name.startswith("timm:"):
        return _open_timm(name)
    location = _builtin_folder(name) if name.startswith("builtin:") else os.path.expanduser(name)  # noqa: PTH111
    _check_path(name, location)
    local = Path(location).is_dir()
    options = {
        "revision": settings.revision,
        "trust_remote_code": settings.trust_remote_code,
        "local_files_only": not local and not hub_reachable(),  # what was downloaded before still opens
    }
    with quiet():
        try:
            config = AutoConfig.from_pretrained(
                location, **{k: v for k, v in options.items() if v is not None}
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(_unreachable(name, location, error)) from error
    _refuse_kernels(name, config)
    folder = Path(location)
    return BaseModel(
        name=name,
        location=location,
        config=config,
        revision=content_digest(folder) if local else getattr(config, "_commit_hash", None),
        trust_remote_code=settings.trust_remote_code,
        has_weights=not local or any(folder.glob("*.safetensors")) or any(folder.glob("pytorch_model*.bin")),
    )


def _refuse_kernels(name: str, config: PretrainedConfig) -> None:
    """Stop at a configuration that names code of the Hub as its attention."""
    values = {"_attn_implementation": config._attn_implementation} | config.to_dict()
    for key, value in values.items():
        if key.endswith(("attn_implementation", "experts_implementation")) and "/" in str(value):
            raise ModelError(
                f"base_model={name!r} asks in its config.json for {key}={value!r}, which is code of the Hub. "
                "Take that line out of config.json; the kit runs the attention of PyTorch."
            )


def text_classifier(base: BaseModel, settings: RunConfig) -> tuple[Any, dict[str, Any]]:
    """The class that makes a classifier of texts with the pooling that is wanted, and what to configure.

    With `auto` that is the pooling which the checkpoint was made for, where it says so; where it does not,
    the model's own classifier stays as it is.

    Raises:
        ModelError: If the mean is asked for, and the model has a decoder too.
    """
    wanted = _POOLINGS.get(base.sentence.pooling or "") if settings.pooling == "auto" else settings.pooling
    if wanted and hasattr(base.config, "classifier_pooling"):
        first = "bos" if base.config.model_type == "eurobert" else "cls"
        chosen = {"classifier_pooling": first if wanted == "first" else wanted}
        return AutoModelForSequenceClassification, chosen
    if wanted != "mean" or (settings.pooling == "auto" and base.config.is_encoder_decoder):
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
    """Make the model in float32, with a head for `label_names`; new weights come from torch's seed.

    Args:
        base: From `open_base_model`.
        auto_class: The task's Auto class of transformers.
        label_names: In the order of their ids.
        settings: Of which `from_scratch` and `reinit_top` are used.
        configured: Changes to the model's configuration.

    Raises:
        ModelError: If the checkpoint is for another task, or lacks weights below the head.
    """
    try:
        with quiet(), no_collection():  # the first model of a kind imports what makes it
            config = _with_labels(base, label_names, **configured)
            if settings.from_scratch or not base.has_weights:
                return _random_model(base, auto_class, config)
            model = _pretrained_model(base, auto_class, config)
    except _UNUSABLE as error:
        what = auto_class.__name__
        raise ModelError(f"base_model={base.name!r} cannot be built as {what}: {_why(error)}") from error
    if settings.reinit_top:
        _reinitialise_top(model, base, auto_class, config, settings.reinit_top)
    return model


def _why(error: BaseException) -> str:
    """The reason that a library gives, and what to do; some of them advise to run foreign code."""
    if isinstance(error, UnpicklingError):
        return (
            "its weights are a pickle of more than numbers, which would run code when it is loaded. Take a "
            "model with .safetensors weights."
        )
    if "custom code" in str(error) or "trust_remote_code" in str(error):
        return (
            "it comes with Python code of its own, which is not run unless you say so. Read it, and then add "
            "--trust_remote_code; or take another model."
        )
    return f"{first_line(error)} Give a whole checkpoint of a model for this task."


def bare_model(settings: RunConfig) -> nn.Module:
    """Make a base model's architecture alone, with a head of two labels: to look at, not to use.

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
        except (ValueError, KeyError, TypeError) as error:
            problem = error
    raise ModelError(
        f"base_model={base.name!r} has no classifier in transformers: {first_line(problem)}"
    ) from problem


def _classifiers(base: BaseModel, settings: RunConfig) -> Iterator[tuple[Any, dict[str, Any]]]:
    yield AutoModelForImageClassification, {}
    yield text_classifier(base, settings)


def head_note(base: BaseModel, label_names: Sequence[str]) -> str | None:
    """Say what became of the checkpoint's own head, if it had one."""
    architectures = " ".join(base.config.architectures or [])
    if not base.has_weights or not ("For" in architectures or base.is_timm) or base.config.num_labels == 0:
        return None
    return own_head_note(base, label_names)


def own_head_note(base: BaseModel, label_names: Sequence[str]) -> str:
    """Say what became of a checkpoint's own head."""
    names = [str(name) for name in (getattr(base.config, "id2label", None) or {}).values()]
    if names == list(label_names):
        return (
            f"The checkpoint's own head for the same {len(names)} labels was kept: if it learned from these "
            "rows, the scores are too good."
        )
    new = f"a new one for {len(label_names)} labels"
    return f"The checkpoint's own head ({len(names)} labels) was replaced by {new}."


def kept_share(base: BaseModel) -> float | None:
    """The share that a classifier's dropout keeps, where a configuration holds that instead of what it drops.

    Those of MobileNet do (0.999 and 0.8), as TensorFlow's first code meant it. Taken for what is dropped,
    hardly anything would get through, and nothing below the classifier would learn.
    """
    share = getattr(base.config, "classifier_dropout_prob", None) or 0.0
    return share if share > _HALF else None


def kept_share_note(base: BaseModel) -> str | None:
    """Say how such a configuration was read."""
    share = kept_share(base)
    if share is None:
        return None
    return (
        f"classifier_dropout_prob={share:g} of the model's configuration was read as the share that is kept, "
        f"as in the original code: dropout {1 - share:g}."
    )


def dropout_note(model: nn.Module) -> str | None:
    """Warn of dropout that lets next to nothing through, as a few published configurations have it."""
    rates = [module.p for module in model.modules() if isinstance(module, nn.Dropout)]
    highest = max(rates, default=0.0)
    if highest < _HIGHEST_DROPOUT:
        return None
    return (
        f"The model's configuration sets a dropout of {highest:g}: in training hardly anything gets through "
        "it, and the layers below may not learn. Lower it in the model's config.json."
    )


def placed(model: nn.Module, device: torch.device) -> nn.Module:
    """The model on a device, with its convolutions' weights laid out channels last, as they run fastest."""
    return model.to(device).to(memory_format=torch.channels_last)


def save_model(model: Any, folder: Path) -> None:
    """Write a model as safetensors that plain transformers, and for its architectures timm, loads."""
    model = merged(model)  # or it would need peft
    model.to(memory_format=torch.contiguous_format)
    # timm knows nothing of transformers' wrapper, which takes its own prefix off only from what had none.
    state = {name.removeprefix("timm_model."): tensor for name, tensor in model.state_dict().items()}
    with quiet():
        model.save_pretrained(folder, state_dict=state if hasattr(model, "timm_model") else None)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' loading reports off the screen; the kit says itself what is new."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        transformers_logging.enable_progress_bar()


def first_line(error: BaseException | None) -> str:
    """The first sentence of a library's message, ended with a full stop."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if text.endswith(":"):  # the reason comes in the lines below
        text = textwrap.shorten(str(error), 200, placeholder=" …")
    return text if text.endswith((".", "!", "?")) else text + "."


def content_digest(folder: Path) -> str:
    """Digest a local model's weights and configuration: its revision, wherever it lies."""
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted([*folder.iterdir(), *folder.glob("[0-9]_*/*")]):  # those of sentence-transformers too
        if file.suffix in {".json", ".safetensors", ".bin", ".txt"} and file.is_file():
            digest.update(file.relative_to(folder).as_posix().encode())
            with file.open("rb") as stream:
                while block := stream.read(1 << 22):
                    digest.update(block)
    return f"blake2b:{digest.hexdigest()}"


def _open_timm(name: str) -> BaseModel:
    """`timm:ARCH` has random weights; `timm:ARCH@FILE.safetensors` has those of a file."""
    timm = require_timm()
    architecture, _, file = name.removeprefix("timm:").partition("@")
    if not timm.is_model(architecture):
        near = timm.list_models(f"*{architecture.split('_')[0]}*")[:5]
        raise ModelError(f"timm has no architecture {architecture!r}. Near it: {', '.join(near) or 'none'}.")
    if file and not (Path(file).is_file() and file.endswith(".safetensors")):
        what = (
            "is not of safetensors, which alone cannot run code" if Path(file).is_file() else "does not exist"
        )
        raise ModelError(f"base_model={name!r}: {Path(file).absolute()} {what}. Give a .safetensors file.")
    from transformers.models.timm_wrapper.configuration_timm_wrapper import TimmWrapperConfig

    pretrained = timm.get_pretrained_cfg(architecture)
    values = {
        "architecture": architecture,
        "num_classes": 0,
        "pretrained_cfg": pretrained.to_dict() if pretrained else {},
        "model_args": {},
    }
    config = TimmWrapperConfig.from_dict(values, num_labels=1, id2label={0: "none"})
    return BaseModel(
        name, architecture, config, None, False, has_weights=bool(file), weights_file=file or None
    )


def require_timm() -> Any:
    """Import timm, or say how to install it."""
    try:
        import timm
    except ImportError as error:
        raise ModelError('timm models need timm: pip install "hf-transfer-kit[vision]".') from error
    return timm


def _with_labels(base: BaseModel, label_names: Sequence[str], **configured: Any) -> PretrainedConfig:
    config = type(base.config).from_dict(
        base.config.to_dict(),
        num_labels=len(label_names),
        id2label={i: str(name) for i, name in enumerate(label_names)},
        label2id={str(name): i for i, name in enumerate(label_names)},
        **configured,
    )
    if share := kept_share(base):
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
        **_hub_options(base),
    )
    new = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
    head = layer_groups(model)[-1]
    _check_backbone(base, head, new)
    if [str(n) for n in (base.config.id2label or {}).values()] != list(config.id2label.values()):
        _reset_output(model, head, auto_class, config, new)
    return model  # type: ignore[no-any-return]


def _timm_weights(base: BaseModel, auto_class: Any, config: PretrainedConfig) -> nn.Module:
    """Fill a timm architecture from one safetensors file; a head of another size is left new."""
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
    """Only the head may be new: random weights below it would pass for pretrained ones."""
    below = sorted(new - set(head.parameters) - set(head.buffers))
    if below:
        raise ModelError(
            f"base_model={base.name!r} lacks {len(below)} weights below the head "
            f"({', '.join(below[:3])}, …): it is a checkpoint of another architecture. "
            "Give another model, or set from_scratch."
        )


def _reset_output(
    model: nn.Module, head: LayerGroup, auto_class: Any, config: PretrainedConfig, new: set[str]
) -> None:
    """Give new weights to an output layer that has our size but other labels: never remap by position."""
    sized = (name for name in head.parameters if model.get_parameter(name).shape[:1] == (config.num_labels,))
    if new.issuperset(sized):
        return  # the checkpoint had another size, or no head: a second model need not be made
    with torch.device("meta"):
        other = type(config).from_dict(config.to_dict(), num_labels=config.num_labels + 1)
        shapes = {name: p.shape for name, p in auto_class.from_config(other).named_parameters()}
    output = {name for name, p in model.named_parameters() if shapes[name] != p.shape}
    for layer in {name.rpartition(".")[0] for name in output - new}:
        module = model.get_submodule(layer)
        nn.init.normal_(module.weight, std=getattr(config, "initializer_range", 0.02))  # type: ignore[arg-type]
        if module.bias is not None:
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]


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


def _hub_options(base: BaseModel) -> dict[str, Any]:
    options: dict[str, Any] = {"trust_remote_code": base.trust_remote_code}
    if not Path(base.location).is_dir():
        options |= {"revision": base.revision, "local_files_only": not hub_reachable()}
    return options


def _builtin_folder(name: str) -> str:
    short = name.removeprefix("builtin:")
    if short not in BUILTIN:
        raise ModelError(f"There is no built-in model {short!r}. {_advice()}")
    return str(Path(__file__).parents[1] / "data" / "builtin" / short)


def _check_path(name: str, location: str) -> None:
    looks_like_path = name.startswith((".", "/", "~")) or name.count("/") > 1
    if looks_like_path and not Path(location).is_dir():
        raise ModelError(f"base_model={name!r}: no such folder {Path(location).absolute()}. {_advice()}")
    if Path(location).is_dir() and not (Path(location) / "config.json").is_file():
        raise ModelError(
            f"base_model={name!r}: {Path(location).absolute()} holds no config.json. {_advice()}"
        )


def _unreachable(name: str, location: str, error: BaseException) -> str:
    if "custom code" in str(error):
        return f"base_model={name!r}: {_why(error)}"
    if Path(location).is_dir():
        return (
            f"base_model={name!r}: its configuration is not usable: {first_line(error)} Save the model again."
        )
    return (
        f"base_model={name!r} is neither a local folder nor reachable on the Hub (no such model, no access, "
        f"or no network): {first_line(error)} {_advice()}"
    )


def _advice() -> str:
    offered = ", ".join(f"builtin:{name} ({what})" for name, what in BUILTIN.items())
    return f"Give a Hub id, a folder with config.json, timm:ARCH, or without a network one of {offered}."
