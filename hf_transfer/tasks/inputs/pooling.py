"""Pool a layer's output to one vector a row: the mean over a picture's patches or a text's tokens."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.models.mean_classifier import mean_of_tokens
from hf_transfer.tasks.targets.target import IGNORE_INDEX


class Pooling:
    """Pooling of layer outputs into features.

    Args:
        model: Says how its layers arrange what they put out.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __call__(self, output: Any, batch: Mapping[str, Tensor]) -> Tensor:
        """Pool one layer's output for a batch, to (b, d), or (words, d) in the order of the words."""
        flat: Tensor = output.flatten(1)
        return flat

    def parts(self, output: Any) -> tuple[str, ...]:
        """Names of the vectors that are concatenated; empty if there is just one."""
        return ()


class PicturePooling(Pooling):
    """The mean over a feature map, or the class token and the mean of the patches, concatenated.

    The mean alone where there is no class token.

    Args:
        model: Says how its pictures' tokens are arranged.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        inner: Any = getattr(model, "timm_model", model)
        self.channels_last = str(getattr(inner, "output_fmt", "")).upper().endswith("NHWC")
        self.num_prefix: int | None = getattr(inner, "num_prefix_tokens", None)
        self.patch_size: Any = getattr(getattr(model, "config", None), "patch_size", None)

    def __call__(self, output: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Pool to (b, d)."""
        if output.ndim == 4:
            return output.mean(dim=(1, 2) if self.channels_last else (2, 3))
        return self._patches(output, batch["pixel_values"]) if output.ndim == 3 else output.flatten(1)

    def _patches(self, output: Tensor, pixels: Tensor) -> Tensor:
        prefix = self._prefix(output.shape[1], pixels)
        mean = output[:, prefix:].mean(dim=1)
        return torch.cat([output[:, 0], mean], dim=1) if prefix else mean

    def _prefix(self, num_tokens: int, pixels: Tensor) -> int:
        """Number of tokens before the patches, such as the class token."""
        if self.num_prefix is not None:
            return min(self.num_prefix, num_tokens - 1)
        sizes = self.patch_size if isinstance(self.patch_size, (tuple, list)) else [self.patch_size] * 2
        if None in sizes:
            return 0
        patches = (pixels.shape[2] // sizes[0]) * (pixels.shape[3] // sizes[1])
        return max(0, num_tokens - int(patches))  # deeper layers of some networks merge patches


class TextPooling(Pooling):
    """The first token and the mean over all tokens but padding, concatenated: either may be what is read.

    The last token instead of the first where a token sees only those before it, as in a decoder: of its
    first token every layer knows that token alone.

    Args:
        model: Its attention layers say what a token sees.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        seen = [module.is_causal for module in model.modules() if hasattr(module, "is_causal")]
        self.reads_last = bool(seen) and all(seen)

    def __call__(self, output: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Pool to (b, d)."""
        if output.ndim != 3:
            return output.flatten(1)
        mask = batch.get("attention_mask")
        if mask is None:
            mask = torch.ones(output.shape[:2], device=output.device)
        # Padding may stand on either side, whatever the side of the token.
        place = mask.shape[1] - 1 - mask.flip(1).argmax(dim=1) if self.reads_last else mask.argmax(dim=1)
        token = output[torch.arange(len(output), device=output.device), place]
        return torch.cat([token, mean_of_tokens(output, mask)], dim=1)

    def parts(self, output: Tensor) -> tuple[str, ...]:
        """The two, of a layer that gives tokens."""
        return (f"{'last' if self.reads_last else 'first'} token", "mean") if output.ndim == 3 else ()


class BranchPooling(Pooling):
    """Of parts that run side by side each as of its kind, concatenated.

    Args:
        model: Its parts are its `branches`.
        of_branches: By the branch's name.
    """

    def __init__(self, model: nn.Module, of_branches: Mapping[str, Pooling]) -> None:
        super().__init__(model)
        self.of_branches = of_branches

    def __call__(self, output: Tensor | Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """Pool to (b, d)."""
        if isinstance(output, Tensor):
            return output.flatten(1)
        pooled = [pool(output[name], batch) for name, pool in self.of_branches.items() if name in output]
        return torch.cat(pooled, dim=1)


class WordPooling(Pooling):
    """The first subword of each tagged word, one row a word."""

    def __call__(self, output: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Pool to (words, d)."""
        return output[batch["labels"] != IGNORE_INDEX]


class SoundPooling(Pooling):
    """The mean over frames but padding; of a spectrogram's tokens the first and the mean, concatenated."""

    def __call__(self, output: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Pool to (b, d)."""
        if output.ndim != 3:
            return output.flatten(1)
        if "input_values" not in batch or batch["input_values"].ndim > 2:
            return torch.cat([output[:, 0], output.mean(dim=1)], dim=1)
        model: Any = self.model
        return (
            model.mean(output, batch.get("attention_mask")) if hasattr(model, "mean") else output.mean(dim=1)
        )
