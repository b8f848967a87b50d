"""A classifier of sounds on the mean of an encoder's frames, saved for plain transformers."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForAudioClassification, PretrainedConfig
from transformers.modeling_outputs import SequenceClassifierOutput

from hf_transfer import _guard  # noqa: F401
from hf_transfer.models.loading import new_weights
from hf_transfer.models.mean_classifier import mean_of_tokens

_HEAD = ("classifier.weight", "classifier.bias")


class SoundClassifier(nn.Module):
    """An encoder of waveforms, the mean of its frames, and one linear layer.

    transformers puts a linear projector in front of the mean, and a linear layer behind it: together one
    linear layer of the mean. Here they are that one, so that a row is one vector to the head. It is saved as
    a model of transformers, with a projector that changes nothing.

    Args:
        plain: A model of transformers with `projector` and `classifier`. The encoder is shared with it.
    """

    plain: Any

    def __init__(self, plain: Any) -> None:
        super().__init__()
        self.config = plain.config
        self.main_input_name: str = plain.main_input_name
        self.base_model_prefix: str = plain.base_model_prefix
        self.__dict__["plain"] = plain  # not a child, whose weights would count twice
        self.add_module(self.base_model_prefix, plain.get_submodule(self.base_model_prefix))
        self.classifier = _as_one(plain.projector, plain.classifier)

    def forward(self, input_values: Tensor, attention_mask: Tensor | None = None) -> SequenceClassifierOutput:
        """Compute logits, (b, c), of waveforms (b, samples)."""
        encoder = self.get_submodule(self.base_model_prefix)
        frames = encoder(input_values, attention_mask=attention_mask).last_hidden_state
        return SequenceClassifierOutput(logits=self.classifier(self.mean(frames, attention_mask)))

    def mean(self, frames: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Mean over the frames (b, f, d) that are not padding, (b, d)."""
        if attention_mask is None:
            return frames.mean(dim=1)
        inside: Tensor = self.plain._get_feature_vector_attention_mask(frames.shape[1], attention_mask)
        return mean_of_tokens(frames, inside)

    @classmethod
    def from_config(cls, config: PretrainedConfig, **options: Any) -> nn.Module:
        """Build a model with random weights."""
        return _of_mean(AutoModelForAudioClassification.from_config(config, **options))  # type: ignore[no-any-return]

    @classmethod
    def from_pretrained(
        cls, location: str, *, trust_remote_code: bool = False, **options: Any
    ) -> tuple[nn.Module, dict[str, Any]]:
        """Load a checkpoint, with its head if that fits; also return which weights are new."""
        plain, report = AutoModelForAudioClassification.from_pretrained(
            location, trust_remote_code=trust_remote_code, **options
        )
        model = _of_mean(plain)
        if model is plain:
            return model, report
        other = new_weights(report)
        is_new = any(key.startswith(("projector.", "classifier.")) for key in other)
        if is_new:  # as one layer, and not as the product of two random ones
            _draw(model.classifier, model.config)
        below = [key for key in other if not key.startswith(("projector.", "classifier."))]
        return model, {"missing_keys": [*below, *(_HEAD if is_new else ())], "mismatched_keys": []}

    def save_pretrained(self, folder: str | Path, **_: Any) -> None:
        """Save a model of transformers that gives the same logits."""
        width = self.classifier.in_features
        plain, self.config.classifier_proj_size = self.plain, width
        plain.projector = nn.Linear(width, width, device=self.classifier.weight.device)
        with torch.no_grad():
            plain.projector.weight.copy_(torch.eye(width))
            plain.projector.bias.zero_()
        plain.classifier = self.classifier
        plain.save_pretrained(folder)


def _of_mean(plain: Any) -> Any:
    """The model by the mean, if it is one of a projector, the mean and a linear layer; else itself."""
    parts = [getattr(plain, name, None) for name in ("projector", "classifier")]
    of_waves = plain.main_input_name == "input_values" and hasattr(
        plain, "_get_feature_vector_attention_mask"
    )
    summed = getattr(plain.config, "use_weighted_layer_sum", False)
    if not of_waves or summed or not all(isinstance(part, nn.Linear) for part in parts):
        return plain
    return SoundClassifier(plain)


def _as_one(projector: nn.Linear, classifier: nn.Linear) -> nn.Linear:
    """One linear layer that does what two do, one after the other."""
    options: Any = {"device": classifier.weight.device, "dtype": classifier.weight.dtype}
    one = nn.Linear(projector.in_features, classifier.out_features, **options)
    with torch.no_grad():
        one.weight.copy_(classifier.weight @ projector.weight)
        one.bias.copy_(classifier.weight @ projector.bias + classifier.bias)
    return one


def _draw(layer: nn.Linear, config: PretrainedConfig) -> None:
    nn.init.normal_(layer.weight, std=getattr(config, "initializer_range", 0.02))
    nn.init.zeros_(layer.bias)
