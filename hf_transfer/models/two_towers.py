"""A classifier of a picture with a text, on the features of a model that reads both, such as CLIP."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, PretrainedConfig
from transformers.modeling_outputs import SequenceClassifierOutput

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ModelError
from hf_transfer.machine.devices import has_doubles
from hf_transfer.models.loading import new_weights
from hf_transfer.models.mean_classifier import files_of

HEAD_FILE = "classifier.safetensors"

_HEAD = ("output.weight", "output.bias")
_CONTRAST = ("logit_scale", "logit_bias")  # which only compare pictures with texts
_BLOCK = re.compile(r"towers\.model\.(vision|text)_model\.(?:\w+\.)*?layers\.(\d+)(?=\.|$)")
_BELOW_BLOCKS = re.compile(r"\.embeddings(\.|$)|\.pre_\w*norm$")


class Join(nn.Module):
    """Put the features of a picture and of a text, their product, and what is missing side by side.

    Both are brought to a mean square of 1 first. What is missing counts as zeros, and a column of its own
    says so.
    """

    def forward(self, picture: Tensor, text: Tensor, present: Tensor) -> Tensor:
        """Join features (b, w) of each, where `present` (b, 2) is 1, to (b, 3 w + 2)."""
        there = present.to(picture.dtype)
        picture, text = scaled_rows(picture) * there[:, :1], scaled_rows(text) * there[:, 1:]
        return torch.cat([picture, text, picture * text, 1 - there], dim=1)


class Towers(nn.Module):
    """The two towers of a pretrained model, from pictures and texts to features that stand side by side.

    Args:
        model: Of transformers, with `get_image_features` and `get_text_features`.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.join = Join()

    def forward(self, pixel_values: Tensor, present: Tensor, **texts: Tensor) -> Tensor:
        """Features of each row, (b, 3 w + 2)."""
        picture = self.model.get_image_features(pixel_values=pixel_values).pooler_output
        text = self.model.get_text_features(**texts).pooler_output
        return self.join(picture, text, present)  # type: ignore[no-any-return]


class ExactLinear(nn.Linear):
    """A linear layer that computes in double precision where the device has it, and never in half.

    Numbers of a table may be years: of 2017 and 2018, what differs is a small part of what is summed up.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Compute (b, c) from (b, d)."""
        wide = torch.float64 if has_doubles(x.device) else torch.float32
        with torch.autocast(x.device.type, enabled=False):
            return functional.linear(x.to(wide), self.weight.to(wide), self.bias.to(wide)).float()


class TwoTowerClassifier(nn.Module):
    """Two towers, their joined features, and one linear layer.

    It is built, and saved, by the same calls as a model of transformers. What it saves is the model of both
    towers, which `AutoModel` loads, and the linear layer in a file beside it.

    Args:
        model: Of both towers. What only compares pictures with texts is kept apart, for the saved model.
        config: Its configuration, of which `num_labels` is used.

    Raises:
        ModelError: If it has not two such towers.
    """

    main_input_name = "input_ids"
    base_model_prefix = "towers"
    branches: ClassVar[dict[str, str]] = {
        "picture": "towers.model.vision_model",
        "text": "towers.model.text_model",
    }
    """Parts that run side by side, by what they read."""
    table_width: ClassVar[int] = 0
    """How many numbers of a table stand beside the features, in the output layer's last columns."""
    read_at_top: ClassVar[tuple[str, ...]] = ("table",)
    """Inputs that nothing but the output layer reads, so that they are needed wherever a pass begins."""

    def __init__(self, model: Any, config: PretrainedConfig) -> None:
        super().__init__()
        self.config = config
        width = _width(model, config)
        self.apart = {name: getattr(model, name) for name in _CONTRAST if hasattr(model, name)}
        for name in self.apart:
            delattr(model, name)
        self.towers = Towers(model)
        layer = ExactLinear if self.table_width else nn.Linear
        self.output = layer(3 * width + 2 + self.table_width, config.num_labels)
        nn.init.normal_(self.output.weight, std=0.02)
        nn.init.zeros_(self.output.bias)

    @classmethod
    def beside(cls, table_width: int) -> type[Self]:
        """The class of models that read as many numbers of a table too; itself for none."""
        return type(cls.__name__, (cls,), {"table_width": table_width}) if table_width else cls

    def forward(self, table: Tensor | None = None, **inputs: Tensor) -> SequenceClassifierOutput:
        """Compute logits, (b, c)."""
        features = self.towers(**inputs)
        if self.table_width and table is not None:
            features = torch.cat([features, table], dim=1)
        return SequenceClassifierOutput(logits=self.output(features))

    @property
    def columns_alone(self) -> dict[str, list[int]]:
        """The columns of the output layer's input that are of the picture, the text or a table alone."""
        both = self.output.in_features - self.table_width
        width = (both - 2) // 3
        alone = {"picture": [*range(width), 3 * width], "text": [*range(width, 2 * width), 3 * width + 1]}
        return alone | ({"table": [*range(both, self.output.in_features)]} if self.table_width else {})

    def group_matcher(self, coarse: bool = False) -> Callable[[str], float]:
        """The depth of a module by its name, as timm's models say it.

        Blocks of both towers are counted together from the top: the last of each is in the last group, with
        the projections above it.
        """
        blocks = [match for name, _ in self.named_modules() if (match := _BLOCK.match(name))]
        tops = {tower: max(int(one[2]) for one in blocks if one[1] == tower) for tower in ("vision", "text")}
        top = max(tops.values()) + 1

        def depth(name: str) -> float:
            if not name.startswith("towers."):
                return float("inf")
            match = _BLOCK.match(name)
            if match:
                return top - tops[match[1]] + int(match[2])
            return 0 if _BELOW_BLOCKS.search(name) else top

        return depth

    @classmethod
    def from_config(cls, config: PretrainedConfig, **options: Any) -> Self:
        """Build the model with random weights."""
        return cls(AutoModel.from_config(config, **options), config)

    @classmethod
    def from_pretrained(
        cls, location: str, *, config: PretrainedConfig, trust_remote_code: bool = False, **options: Any
    ) -> tuple[Self, dict[str, Any]]:
        """Load a checkpoint, with its linear layer if that fits; also return which weights are new."""
        towers, report = AutoModel.from_pretrained(
            location, config=config, trust_remote_code=trust_remote_code, **options
        )
        model = cls(towers, config)
        head_file = files_of(location, options)(HEAD_FILE)
        weights = load_file(head_file) if head_file else {}
        own = {name: tensor.shape for name, tensor in model.output.state_dict().items()}
        fits = {name: tensor.shape for name, tensor in weights.items()} == own
        if fits:
            model.output.load_state_dict(weights)
        missing = [f"towers.model.{name}" for name in new_weights(report) if name not in model.apart]
        return model, {"missing_keys": [*missing, *(() if fits else _HEAD)], "mismatched_keys": []}

    def save_pretrained(self, folder: str | Path, **_: Any) -> None:
        """Save the model of both towers, and the linear layer beside it."""
        towers = self.towers.model
        apart = {name: parameter.detach() for name, parameter in self.apart.items()}
        towers.save_pretrained(folder, state_dict=towers.state_dict() | apart)
        tensors = {name: tensor.contiguous() for name, tensor in self.output.state_dict().items()}
        save_file(tensors, Path(folder) / HEAD_FILE, metadata={"format": "pt"})


def scaled_rows(features: Tensor) -> Tensor:
    """Features (b, w) with a mean square of 1 in each row; a row of zeros stays."""
    return features * features.square().mean(dim=1, keepdim=True).clamp(min=1e-12).rsqrt()


def reads_full_length(config: PretrainedConfig) -> bool:
    """Whether its text tower takes the last place of a text that is always padded to the same length."""
    return str(config.model_type).startswith("siglip")


def _width(model: Any, config: PretrainedConfig) -> int:
    """Number of features that each tower gives."""
    parts = ("vision_model", "text_model", "get_image_features", "get_text_features")
    if not all(hasattr(model, name) for name in parts):
        raise ModelError(
            f"A model of type {config.model_type} has not a tower for pictures and one for texts. Take one "
            "such as openai/clip-vit-base-patch32 or google/siglip-base-patch16-224."
        )
    return int(getattr(config, "projection_dim", None) or config.text_config.projection_size)
