"""Cut a model where its frozen part ends, and run the rest on stored features."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.replay.shapes import Shape, length_of, stand_in


@dataclass(frozen=True)
class Cut:
    """The module whose input is stored, and how to run the model from there.

    Attributes:
        module: Its name.
        argument: Which of its arguments is stored.
        first_only: Only the first token of each row is stored: nothing above reads the others.
        chain: Modules that lead from there to the logits, each fed with the one before; empty when
            the whole model has to run, with stand-ins below the cut.
        stand_ins: What modules below the cut return in its place: the shapes, filled with NaN.
        shape: Of the stored tensor of a batch.
        written_to: Whether the model writes into what stands in, which then needs memory of its own.
        below: Parameters and buffers that the stored tensor depends on.
    """

    module: str
    argument: int | str
    first_only: bool
    shape: Shape
    below: tuple[str, ...]
    chain: tuple[str, ...] = ()
    stand_ins: Mapping[str, Any] = field(default_factory=dict)
    written_to: bool = False


class Suffix(nn.Module):
    """The part of a model above a cut, as a module that shares the model's weights.

    Its forward takes `features`, the stored tensor of a batch, and the model's inputs (which only a
    cut without a chain looks at); it returns the logits.
    """

    def __init__(self, model: nn.Module, cut: Cut) -> None:
        super().__init__()
        self.cut = cut
        self.model = model if not cut.chain else None
        self.chain = nn.ModuleList(model.get_submodule(name) for name in cut.chain)

    def forward(self, features: Tensor, **inputs: Tensor) -> Tensor:
        """Compute logits from stored features."""
        if self.model is None:
            for module in self.chain:
                features = module(features)
            return features.squeeze(1) if self.cut.first_only and features.ndim == 3 else features
        rows, length = len(features), length_of(inputs, self.model)
        with _Replaced(self.model) as replaced:
            for name, shapes in self.cut.stand_ins.items():
                value = stand_in(shapes, rows, length, features.device, copied=self.cut.written_to)
                replaced.output(name, value)
            replaced.argument(self.cut.module, self.cut.argument, features)
            logits: Tensor = self.model(**inputs).logits
        return logits


class _Reached(Exception):  # noqa: N818  (a jump, not a fault)
    """The forward pass came to the cut."""


def features_at(model: nn.Module, cut: Cut, batch: Mapping[str, Tensor]) -> Tensor:
    """Run a model up to a cut, and return the tensor that enters it."""

    def stop(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        entered.append(args[cut.argument] if isinstance(cut.argument, int) else kwargs[cut.argument])
        raise _Reached

    entered: list[Tensor] = []
    hook = model.get_submodule(cut.module).register_forward_pre_hook(stop, with_kwargs=True)
    try:
        model(**batch)
    except _Reached:
        pass
    finally:
        hook.remove()
    return entered[0][:, :1] if cut.first_only else entered[0]


class _Replaced:
    """Replace the forward methods of modules for a while, then restore them."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.modules: list[nn.Module] = []

    def __enter__(self) -> "_Replaced":
        return self

    def __exit__(self, *_: object) -> None:
        for module in self.modules:
            module.__dict__.pop("forward", None)

    def output(self, name: str, value: Any) -> None:
        """Make a module return a fixed value."""
        self._set(name, lambda *_, **__: value)

    def argument(self, name: str, at: int | str, value: Tensor) -> None:
        """Replace one argument of a module by a fixed value."""
        module = self.model.get_submodule(name)
        own = type(module).forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            if isinstance(at, int):
                args = (*args[:at], value, *args[at + 1 :])
            else:
                kwargs[at] = value
            return own(module, *args, **kwargs)

        self._set(name, forward)

    def _set(self, name: str, forward: Any) -> None:
        module = self.model.get_submodule(name)
        module.forward = forward
        self.modules.append(module)
