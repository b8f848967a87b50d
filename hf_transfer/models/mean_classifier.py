"""A text classifier on the mean of token embeddings, for sentence encoders."""

import inspect
from pathlib import Path
from typing import Any, Self

from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModel, PretrainedConfig
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import cached_file

from hf_transfer import _guard  # noqa: F401
from hf_transfer.models.loading import new_weights
from hf_transfer.models.sentence_modules import HEAD_FOLDER, Find, read_modules, write_modules

_HEAD = ("output.weight", "output.bias")


class MeanClassifier(nn.Module):
    """An encoder, mean pooling without padding, and one linear layer.

    It is built, and saved, by the same calls as a model of transformers. What it saves is a model of
    sentence-transformers, whose `encode` gives the logits.

    Args:
        encoder: Of transformers. A pooler that it can do without is kept apart, for the saved model.
        config: Of which `num_labels` is used.
    """

    main_input_name = "input_ids"

    def __init__(self, encoder: Any, config: PretrainedConfig) -> None:
        super().__init__()
        self.config = config
        self.base_model_prefix: str = encoder.base_model_prefix or "encoder"
        self.apart = _poolers_of(encoder)
        for name in self.apart:
            setattr(encoder, name, None)
        self.add_module(self.base_model_prefix, encoder)
        self.output = nn.Linear(config.hidden_size, config.num_labels)
        nn.init.normal_(self.output.weight, std=getattr(config, "initializer_range", 0.02))
        nn.init.zeros_(self.output.bias)

    @property
    def encoder(self) -> Any:
        """The encoder, from token ids to features (b, l, d), under the name that transformers gives it."""
        return self.get_submodule(self.base_model_prefix)

    def forward(self, attention_mask: Tensor | None = None, **inputs: Tensor) -> SequenceClassifierOutput:
        """Compute logits, (b, c)."""
        tokens = self.encoder(attention_mask=attention_mask, **inputs)[0]
        return SequenceClassifierOutput(logits=self.output(mean_of_tokens(tokens, attention_mask)))

    @classmethod
    def from_config(cls, config: PretrainedConfig, **options: Any) -> Self:
        """Build the model with random weights."""
        return cls(AutoModel.from_config(config, **options), config)

    @classmethod
    def from_pretrained(
        cls, location: str, *, config: PretrainedConfig, trust_remote_code: bool = False, **options: Any
    ) -> tuple[Self, dict[str, Any]]:
        """Load a checkpoint, with its linear layer if that fits; also return which weights are new."""
        encoder, report = AutoModel.from_pretrained(
            location, config=config, trust_remote_code=trust_remote_code, **options
        )
        model = cls(encoder, config)
        head_file = read_modules(files_of(location, options)).head
        weights = load_file(head_file) if head_file else {}
        fits = weights.keys() == {"linear.weight", "linear.bias"} and len(weights["linear.bias"]) == len(
            model.output.bias
        )
        if fits:
            model.output.load_state_dict({name.removeprefix("linear."): t for name, t in weights.items()})
        missing = [
            f"{model.base_model_prefix}.{name}"
            for name in new_weights(report)
            if name.partition(".")[0] not in model.apart
        ]
        return model, {"missing_keys": [*missing, *(() if fits else _HEAD)], "mismatched_keys": []}

    def save_pretrained(self, folder: str | Path, **_: Any) -> None:
        """Save the model in the layout of sentence-transformers."""
        folder, output = Path(folder), self.output
        state = self.encoder.state_dict()
        for name, pooler in self.apart.items():
            state |= {f"{name}.{key}": tensor for key, tensor in pooler.state_dict().items()}
        self.encoder.save_pretrained(folder, state_dict=state)
        write_modules(folder, width=output.in_features, num_labels=output.out_features)
        tensors = {f"linear.{name}": tensor.contiguous() for name, tensor in output.state_dict().items()}
        save_file(tensors, folder / HEAD_FOLDER / "model.safetensors", metadata={"format": "pt"})


def mean_of_tokens(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the tokens (b, l, d) that are not padding, (b, d)."""
    if mask is None:
        return tokens.mean(dim=1)
    total = (tokens * mask.unsqueeze(-1)).sum(dim=1)
    return total / mask.sum(dim=1, keepdim=True).clamp(min=1)  # a whole number, which bfloat16 would round


def files_of(location: str, options: dict[str, Any]) -> Find:
    """A function that finds a checkpoint's files, in a folder or on the Hub.

    Args:
        location: A folder, or a repository's name.
        options: Of which `revision` and `local_files_only` are used.
    """
    asked = {name: options[name] for name in ("revision", "local_files_only") if name in options}
    offline = asked.get("local_files_only", False)  # a file that was not fetched before is then not there

    def find(name: str) -> Path | None:
        path = cached_file(
            location,
            name,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=not offline,
            **asked,
        )
        return Path(path) if path else None

    return find


def _poolers_of(encoder: Any) -> dict[str, nn.Module]:
    """Layers that pool tokens, which the mean does not need, if the encoder runs without them."""
    optional = "add_pooling_layer" in inspect.signature(type(encoder).__init__).parameters
    pooler = getattr(encoder, "pooler", None)
    return {"pooler": pooler} if optional and isinstance(pooler, nn.Module) else {}
