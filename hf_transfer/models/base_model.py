"""Base models: Hub id, local folder in the transformers or timm layout, `builtin:NAME`, `timm:ARCH`."""

import hashlib
import os
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, PretrainedConfig
from transformers.utils import logging as transformers_logging

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ModelError
from hf_transfer.machine.network import hub_reachable
from hf_transfer.machine.parsing import parse_json
from hf_transfer.machine.paths import special_file
from hf_transfer.models.kinds import wrong_kind
from hf_transfer.models.mean_classifier import files_of
from hf_transfer.models.sentence_modules import SentenceModules, read_modules

BUILTIN = {
    "digits-resnet": "image: a ResNet of 0.37 M parameters, pretrained on handwritten digits 0 to 4",
    "tiny-clip": "image_text: a CLIP of two towers, pretrained on captioned digits 0 to 4",
    "tiny-wav2vec2": "audio: a wav2vec2 of two layers with random weights, not pretrained",
    "tiny-bert": "text: a BERT of two layers with random weights, not pretrained",
}
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")  # names of files in a local folder
_READ = ("config.json", "tokenizer_config.json", "tokenizer.json", "preprocessor_config.json")
# What configurations and weights make libraries raise that are damaged, senseless or of another model.
UNUSABLE = (
    ValueError, RuntimeError, OSError, KeyError, IndexError, TypeError, AttributeError, AssertionError,
    ArithmeticError, ImportError, SafetensorError, UnpicklingError, StrictDataclassError,
)  # fmt: skip
_HALF = 0.5
_MOST_LAYERS = 10_000  # that somebody means
_GENERATES = re.compile("(ForCausalLM|GPT2LMHeadModel)$")


@dataclass(frozen=True)
class BaseModel:
    """A model's configuration, and where its weights are; opened once, built anew for every fold."""

    name: str
    location: str
    config: PretrainedConfig
    revision: str | None
    trust_remote_code: bool
    has_weights: bool = True
    weights_file: str | None = None
    image_size: int | None = None

    @property
    def is_timm(self) -> bool:
        """Whether it is a timm model, which transformers wraps."""
        return bool(self.config.model_type == "timm_wrapper")

    @property
    def named_without_weights(self) -> bool:
        """Whether its name is that of a model whose weights are random where it has none."""
        return self.name.startswith(("builtin:", "timm:"))

    @property
    def architecture(self) -> str:
        """Name of the architecture in timm or transformers."""
        return str(self.config.architecture if self.is_timm else self.config.model_type)

    @property
    def hub_options(self) -> dict[str, Any]:
        """Options for `from_pretrained`: whether the model's code may run, revision, offline or not."""
        options: dict[str, Any] = {"trust_remote_code": self.trust_remote_code}
        if not Path(self.location).is_dir():
            options |= {"revision": self.revision, "local_files_only": not hub_reachable()}
        return options

    @property
    def kept_share(self) -> float | None:
        """Keep probability of the classifier's dropout, if the configuration states it in place of the rate.

        Those of MobileNet do (0.999 and 0.8), as TensorFlow's first code meant it. Taken for what is dropped,
        hardly anything would get through, and nothing below the classifier would learn.
        """
        share = getattr(self.config, "classifier_dropout_prob", None) or 0.0
        return share if share > _HALF else None

    @property
    def language(self) -> str | None:
        """The language whose adapters read texts, where X-MOD names none: English, or the first."""
        languages = getattr(self.config, "languages", None)
        if not languages or getattr(self.config, "default_language", "") is not None:
            return None
        return "en_XX" if "en_XX" in languages else str(languages[0])

    @property
    def finds_end_by_padding(self) -> bool:
        """Whether its classifier reads the last token before the padding, as a decoder's does.

        It knows padding by the configuration's `pad_token_id`, which language models leave out, or have from
        another tokenizer than theirs.
        """
        generates = any(map(_GENERATES.search, self.config.architectures or []))
        return generates or self.config.get_text_config().pad_token_id is None

    @cached_property
    def sentence(self) -> SentenceModules:
        """Its sentence-transformers settings; empty if it is not such a model.

        Raises:
            ModelError: If that is damaged, or the Hub does not answer.
        """
        try:
            return read_modules(files_of(self.location, self.hub_options))
        except (ValueError, OSError) as error:
            raise ModelError(
                f"base_model={self.name!r} does not say how its tokens are pooled: {first_line(error)} Save "
                "the model again, or give --pooling first, which does not ask."
            ) from error

    def load(self, loader: Any, **options: Any) -> Any:
        """Load a tokenizer, an image processor or a feature extractor with `loader.from_pretrained`.

        Raises:
            ModelError: If the files are not there or not usable.
        """
        with quiet():
            try:
                return loader.from_pretrained(self.location, **self.hub_options, **options)
            except UNUSABLE as error:
                what = loader.__name__.removeprefix("Auto")
                reason = why(error) if "custom code" in str(error) else first_line(error)
                raise ModelError(
                    wrong_kind(self.name, self.config, loader)
                    or f"base_model={self.name!r} has no usable {what}: {reason} Save it into the model's "
                    "folder, or take a model for this task."
                ) from error


def open_base_model(settings: RunConfig) -> BaseModel:
    """Find a base model and read its configuration, but not yet its weights.

    Raises:
        ModelError: If it is not there, cannot be reached, or its configuration is not readable.
    """
    name = settings.base_model
    if not name:
        raise ModelError(f"No base_model is given. {_advice()}")
    if name.startswith("timm:"):
        return replace(_open_timm(name), image_size=settings.image_size)
    location = _builtin_folder(name) if name.startswith("builtin:") else os.path.expanduser(name)  # noqa: PTH111
    location = _model_in(location)
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
        except UNUSABLE as error:
            raise ModelError(_unreachable(name, location, error)) from error
    _refuse_kernels(name, config)
    _refuse_depth(name, config)
    _refuse_padding(name, config)
    folder = Path(location)
    return BaseModel(
        name=name,
        location=location,
        config=config,
        revision=content_digest(folder) if local else getattr(config, "_commit_hash", None),
        trust_remote_code=settings.trust_remote_code,
        has_weights=not local or any(any(folder.glob(pattern)) for pattern in WEIGHTS),
        image_size=settings.image_size,
    )


def _refuse_kernels(name: str, config: PretrainedConfig) -> None:
    """Refuse a configuration whose attention is code from the Hub."""
    values = {"_attn_implementation": config._attn_implementation} | config.to_dict()
    for key, value in values.items():
        if key.endswith(("attn_implementation", "experts_implementation")) and "/" in str(value):
            raise ModelError(
                f"base_model={name!r} asks in its config.json for {key}={value!r}, which is code of the Hub. "
                "Take that line out of config.json; the kit runs the attention of PyTorch."
            )


def _refuse_depth(name: str, config: PretrainedConfig) -> None:
    """Refuse so many layers that nobody would see the end of building them."""
    layers = getattr(config.get_text_config(), "num_hidden_layers", None)
    if isinstance(layers, int) and layers > _MOST_LAYERS:
        raise ModelError(
            f"base_model={name!r} says in its config.json that it has {layers:,} layers, and at most "
            f"{_MOST_LAYERS:,} are built. Save the model again."
        )


def _refuse_padding(name: str, config: PretrainedConfig) -> None:
    """Refuse a padding token below 0, which PyTorch takes for one from the end of the vocabulary."""
    token = getattr(config.get_text_config(), "pad_token_id", None)
    if isinstance(token, int) and token < 0:
        raise ModelError(
            f"base_model={name!r} says in its config.json that pad_token_id is {token}, and no token has a "
            "number below 0. Set it to the tokenizer's, or take the line out."
        )


def why(error: BaseException) -> str:
    """Turn a library's error into a reason and advice, but never advice to run foreign code."""
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


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' loading reports; the kit itself reports which weights are new."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        transformers_logging.enable_progress_bar()


def first_line(error: BaseException | None) -> str:
    """The first sentence of a library's message, with a full stop."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if text.endswith(":"):  # the reason comes in the lines below
        text = textwrap.shorten(str(error), 200, placeholder=" …")
    return text if text.endswith((".", "!", "?")) else text + "."


def content_digest(folder: Path) -> str:
    """Digest of a local model's weights and configuration, which serves as its revision."""
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted([*folder.iterdir(), *folder.glob("[0-9]_*/*")]):  # those of sentence-transformers too
        if file.suffix in {".json", ".safetensors", ".bin", ".txt"} and file.is_file():
            digest.update(file.relative_to(folder).as_posix().encode())
            with file.open("rb") as stream:
                while block := stream.read(1 << 22):
                    digest.update(block)
    return f"blake2b:{digest.hexdigest()}"


def _open_timm(name: str) -> BaseModel:
    """Open `timm:ARCH` with random weights, or `timm:ARCH@FILE.safetensors` with those of a file."""
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


def _builtin_folder(name: str) -> str:
    short = name.removeprefix("builtin:")
    if short not in BUILTIN:
        raise ModelError(f"There is no built-in model {short!r}. {_advice()}")
    return str(Path(__file__).parents[1] / "data" / "builtin" / short)


def _model_in(location: str) -> str:
    """The folder `model` in that of a run, which is the run's model; other places as they are."""
    folder = Path(location)
    inner = folder / "model"
    is_run = not (folder / "config.json").is_file() and (inner / "config.json").is_file()
    return str(inner) if is_run else location


def _check_path(name: str, location: str) -> None:
    looks_like_path = name.startswith((".", "/", "~")) or name.count("/") > 1
    if looks_like_path and not Path(location).is_dir():
        raise ModelError(f"base_model={name!r}: no such folder {Path(location).absolute()}. {_advice()}")
    if Path(location).is_dir():
        _check_folder(name, Path(location))


def _check_folder(name: str, folder: Path) -> None:
    """Refuse a folder whose files would mean something else than they seem to, or stop a library short."""
    for path in folder.iterdir():
        if kind := special_file(path):
            raise ModelError(f"base_model={name!r}: {path} is {kind}, not a file. Save the model again.")
    if not (folder / "config.json").is_file():
        raise ModelError(f"base_model={name!r}: {folder.absolute()} holds no config.json. {_advice()}")
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"base_model={name!r} holds adapter_config.json, by which transformers would load another model "
            "and adapters into it. Merge them (peft: merge_and_unload) and save the model, or take it out."
        )
    for path in filter(Path.is_file, (folder / file for file in _READ)):
        try:
            parse_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(
                f"base_model={name!r}: {path.name} cannot be used: {first_line(error)} Save the model again."
            ) from error


def _unreachable(name: str, location: str, error: BaseException) -> str:
    if "custom code" in str(error):
        return f"base_model={name!r}: {why(error)}"
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
