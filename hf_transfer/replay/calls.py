"""Record the module calls of a forward pass: which ones, in which order, with which tensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.devices import seeded


@dataclass
class Call:
    """One call of one module.

    Attributes:
        name: The module's name in the model.
        begin: When it began; every begin and end of a pass has a number of its own.
        end: When it returned.
        argument: Place or keyword of its first tensor; None when it got none.
        tensor: That tensor.
        alone: Whether it got no other tensor.
        output: What it returned.
    """

    name: str
    begin: int
    argument: int | str | None
    tensor: Tensor | None
    alone: bool
    end: int = -1
    output: Any = None


@dataclass(frozen=True)
class Recording:
    """All calls of a forward pass, in the order in which they began, and the logits."""

    calls: tuple[Call, ...]
    logits: Tensor

    def of(self, name: str) -> list[Call]:
        """All calls of one module."""
        return [call for call in self.calls if call.name == name]

    def begin(self, name: str) -> int:
        """When a module, or its nearest called parent, was first called."""
        while True:
            calls = self.of(name)
            if calls or not name:
                return calls[0].begin if calls else 0
            name = name.rpartition(".")[0]


def record(model: nn.Module, batch: Mapping[str, Tensor], *, seed: int) -> Recording:
    """Run a model once, in its current mode and without gradients, and record every call.

    Args:
        model: Any whose output has `logits`.
        batch: Keyword arguments.
        seed: Of the random draws (dropout) in this pass.
    """
    calls: list[Call] = []
    clock = iter(range(1, 1 << 30))

    def begun(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
        tensors = [(at, value) for at, value in given if isinstance(value, Tensor)]
        argument, tensor = tensors[0] if tensors else (None, None)
        calls.append(Call(name, next(clock), argument, tensor, len(tensors) < 2))

    def ended(name: str, output: Any) -> None:
        call = next(call for call in reversed(calls) if call.name == name and call.end < 0)
        call.end, call.output = next(clock), output

    hooks = []
    for name, module in model.named_modules():
        if name:
            hooks.append(
                module.register_forward_pre_hook(
                    lambda _, a, k, name=name: begun(name, a, k), with_kwargs=True
                )
            )
            hooks.append(module.register_forward_hook(lambda _, __, out, name=name: ended(name, out)))
    try:
        with seeded(seed, next(model.parameters()).device), torch.no_grad():
            logits = model(**batch).logits
    finally:
        for hook in hooks:
            hook.remove()
    return Recording(tuple(calls), logits)
