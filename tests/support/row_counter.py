"""Counts the rows that pass through whole models, whichever part of the kit sends them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.modules import module as hooks
from transformers import PreTrainedModel


class RowCounter:
    """Rows of all forward passes of models of transformers; a backbone within one is not counted again."""

    def __init__(self) -> None:
        self.rows, self._inside = 0, 0

    def enter(self, module, _inputs):
        """Note that a module is about to pass rows on."""
        self._inside += isinstance(module, PreTrainedModel)

    def leave(self, module, inputs, named, _output):
        """Count the rows of the outermost model."""
        if isinstance(module, PreTrainedModel):
            self._inside -= 1
            if not self._inside:
                self.rows += len(
                    next(one for one in (*inputs, *named.values()) if isinstance(one, torch.Tensor))
                )


@contextmanager
def counted_rows() -> Iterator[RowCounter]:
    """Count while this is open."""
    counter = RowCounter()
    added = [
        hooks.register_module_forward_pre_hook(counter.enter),
        hooks.register_module_forward_hook(counter.leave, with_kwargs=True),
    ]
    try:
        yield counter
    finally:
        for one in added:
            one.remove()
