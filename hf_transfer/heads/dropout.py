"""Dropout for many heads at once: the masks that each fold draws when it is trained alone."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401


class Dropout(AbstractContextManager[None]):
    """Takes the place of a module's dropout layers while it is entered.

    Args:
        module: Whose `nn.Dropout` layers to replace.
        by_token: Whether features have a dimension for tokens, by which folds are padded.
        states: Of the generator of each fold, as it is when the fold's training begins.
    """

    def __init__(self, module: nn.Module, *, by_token: bool, states: Sequence[Tensor]) -> None:
        self.module, self.by_token = module, by_token
        self.layers = [m for m in module.modules() if type(m) is nn.Dropout and m.p > 0]
        self.generators = [_generator(state) for state in states]
        self._next: Iterator[Tensor] | None = None
        self._calls: dict[tuple[int, ...], list[tuple[float, tuple[int, ...]]]] = {}
        self._seen: list[tuple[float, tuple[int, ...]]] = []

    def __enter__(self) -> None:
        for layer in self.layers:
            layer.__dict__["forward"] = self._forward(layer)

    def __exit__(self, *_: object) -> None:
        for layer in self.layers:
            layer.__dict__.pop("forward", None)

    def use(self, masks: Sequence[Tensor]) -> None:
        """Let the next pass take these masks, one a call: a layer may be called more than once."""
        self._next = iter(masks)

    def draw(self, features: Tensor, counts: Sequence[int], lengths: Sequence[int]) -> list[Tensor]:
        """Masks for a step, (F, b, …) for each call of a layer.

        Args:
            features: Of all folds, (F, b, …).
            counts: Rows of each fold in this step; the rest is filling.
            lengths: Tokens that each fold would be padded to alone.
        """
        if not self.layers:
            return []
        drawn: list[list[Tensor]] = []
        for generator, rows, length in zip(self.generators, counts, lengths, strict=True):
            drawn.append([])
            for rate, full in self._calls_for(features[0]):
                own = (rows, length, *full[2:]) if self.by_token else (rows, *full[1:])
                drawn[-1].append(_mask(rate, own, full, generator))
        return [torch.stack(column).to(features.device) for column in zip(*drawn, strict=True)]

    def _calls_for(self, features: Tensor) -> list[tuple[float, tuple[int, ...]]]:
        """Rate and input shape of every call that such a batch leads to, in order."""
        key = tuple(features.shape)
        if key not in self._calls:
            self._seen, self._next = [], None
            with torch.no_grad():
                self.module(features)
            self._calls[key] = self._seen
        return self._calls[key]

    def _forward(self, layer: nn.Dropout) -> Callable[[Tensor], Tensor]:
        def forward(x: Tensor) -> Tensor:
            if not layer.training:
                return x
            if self._next is None:
                self._seen.append((layer.p, tuple(x.shape)))
                return x
            return x * next(self._next)

        return forward


def _mask(rate: float, own: tuple[int, ...], full: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """A dropout mask of a fold's own shape, filled up with ones to the full shape."""
    mask = torch.ones(full)
    mask[tuple(slice(n) for n in own)] = (
        torch.empty(own).bernoulli_(1 - rate, generator=generator).div_(1 - rate)
    )
    return mask


def _generator(state: Tensor) -> torch.Generator:
    generator = torch.Generator()
    generator.set_state(state)
    return generator
