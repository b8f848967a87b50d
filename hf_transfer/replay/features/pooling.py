"""Pool a layer's output to one vector a row: the mean over a picture's patches or a text's tokens."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import Kind
from hf_transfer.models.mean_classifier import mean_of_tokens
from hf_transfer.tasks.targets.target import IGNORE_INDEX

OF_TEXTS = ("first token", "mean")  # side by side: two vectors, as either may be what a classifier reads


class Pooling:
    """Pooling of layer outputs into features.

    image    maps (b, c, h, w): their mean over places; tokens (b, l, d): the class token and the mean
             of the patches, side by side, or the mean alone where there is no class token
    text     the first token and the mean over tokens that are no padding, side by side
    tokens   the first subword of each word that is tagged, one row a word

    Args:
        model: Says how its pictures' tokens are arranged.
        kind: What a row's input is.
    """

    def __init__(self, model: nn.Module, kind: Kind) -> None:
        self.kind = kind
        inner: Any = getattr(model, "timm_model", model)
        self.channels_last = str(getattr(inner, "output_fmt", "")).upper().endswith("NHWC")
        self.num_prefix: int | None = getattr(inner, "num_prefix_tokens", None)
        self.patch_size: Any = getattr(getattr(model, "config", None), "patch_size", None)

    def __call__(self, output: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Pool one layer's output for a batch, to (b, d), or (words, d) in the order of the words."""
        if self.kind == "tokens":
            return output[batch["labels"] != IGNORE_INDEX]
        if output.ndim == 4:
            return output.mean(dim=(1, 2) if self.channels_last else (2, 3))
        if output.ndim == 3 and self.kind == "image":
            return self._patches(output, batch["pixel_values"])
        if output.ndim == 3:
            return _words(output, batch.get("attention_mask"))
        return output.flatten(1)

    def parts(self, output: Tensor) -> tuple[str, ...]:
        """Names of the vectors that are concatenated for a text; empty if there is just one."""
        return OF_TEXTS if self.kind == "text" and output.ndim == 3 else ()

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


def _words(output: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        mask = torch.ones(output.shape[:2], device=output.device)
    # The first token that is no padding, which some tokenizers put in front.
    first = output[torch.arange(len(output), device=output.device), mask.argmax(dim=1)]
    return torch.cat([first, mean_of_tokens(output, mask)], dim=1)
