"""Dropout for many heads at once, with the masks that each fold would draw alone."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.environment import pool_size


class Dropout(AbstractContextManager[None]):
    """Context manager that replaces a module's dropout layers.

    Args:
        module: Whose `nn.Dropout` layers to replace.
        by_token: Whether features have a dimension for tokens, by which folds are padded.
        states: Of the generator of each fold, as it is when the fold's training begins.
    """

    def __init__(self, module: nn.Module, *, by_token: bool, states: Sequence[Tensor]) -> None:
        self.module, self.by_token = module, by_token
        self.layers = [m for m in module.modules() if type(m) is nn.Dropout and m.p > 0]
        self.generators = [_generator(state) for state in states]
        # A generator gives one number after the other, and each fold has its own.
        self.pool = ThreadPoolExecutor(pool_size())
        self._next: Iterator[Tensor] | None = None
        self._calls: dict[tuple[int, ...], list[tuple[float, tuple[int, ...]]]] = {}
        self._seen: list[tuple[float, tuple[int, ...]]] = []

    def __enter__(self) -> None:
        for layer in self.layers:
            layer.__dict__["forward"] = self._forward(layer)

    def __exit__(self, *_: object) -> None:
        for layer in self.layers:
            layer.__dict__.pop("forward", None)
        self.pool.shutdown()

    def use(self, masks: Sequence[Tensor]) -> None:
        """Set the masks for the next pass, one for each call of a dropout layer."""
        self._next = iter(masks)

    def draw(self, features: Tensor, counts: Sequence[int], lengths: Sequence[int]) -> list[Tensor]:
        """Draw masks for a step, (F, b, …) for each call of a layer.

        Args:
            features: Of all folds, (F, b, …).
            counts: Rows of each fold in this step; the rest is filling.
            lengths: Tokens that each fold would be padded to alone.
        """
        if not self.layers:
            return []
        calls = self._calls_for(features[0])
        masks = [torch.ones(len(features), *full) for _, full in calls]

        def draw(fold: int) -> None:
            rows, length = counts[fold], lengths[fold]
            for (rate, full), mask in zip(calls, masks, strict=True):
                own = (rows, length, *full[2:]) if self.by_token else (rows, *full[1:])
                _draw(mask[fold][tuple(slice(n) for n in own)], 1 - rate, self.generators[fold])

        list(self.pool.map(draw, range(len(features))))
        return [mask.to(features.device) for mask in masks]

    def _calls_for(self, features: Tensor) -> list[tuple[float, tuple[int, ...]]]:
        """Rate and input shape of every dropout call for such a batch, in order."""
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


def _draw(mask: Tensor, kept: float, generator: torch.Generator) -> None:
    """Fill a mask with the same numbers as a contiguous tensor of its shape."""
    drawn = mask if mask.is_contiguous() else torch.empty(mask.shape)
    mask.copy_(drawn.bernoulli_(kept, generator=generator).div_(kept))


def _generator(state: Tensor) -> torch.Generator:
    generator = torch.Generator()
    generator.set_state(state)
    return generator
