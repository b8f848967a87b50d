"""Where the frozen part of a model ends: found from one pass, and proven before it is used."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.layers import Freezing
from hf_transfer.layers.selection import is_norm
from hf_transfer.replay.calls import Call, Recording, record, seeded
from hf_transfer.replay.shapes import Shape, fit_shape, fit_tree, length_of, rows_of, stand_in

_SEED = 0  # of the proof's random draws: the same for both ways


@dataclass(frozen=True)
class Cut:
    """The module whose input is stored, and how to go on from there.

    Attributes:
        module: Its name.
        argument: Which of its arguments is stored.
        first_only: Only the first token of each row is stored: nothing above reads the others.
        chain: Modules that lead from there to the logits, each fed with the one before; empty when
            the whole model has to run, with stand-ins below the cut.
        stand_ins: What modules below the cut return in its place: the shapes, filled with NaN.
        shape: Of the stored tensor of a batch.
        below: Parameters and buffers that the stored tensor depends on.
    """

    module: str
    argument: int | str
    first_only: bool
    shape: Shape
    below: tuple[str, ...]
    chain: tuple[str, ...] = ()
    stand_ins: Mapping[str, Any] = field(default_factory=dict)


def find_cut(
    model: nn.Module,
    freezing: Freezing,
    probes: Sequence[Mapping[str, Tensor]],
    context: AbstractContextManager[Any],
) -> Cut | None:
    """Find the cheapest cut above everything frozen that gives the same logits; None without one.

    Each candidate is tried on every probe, in train mode and with the same random draws, against the
    untouched model. The stand-ins are NaN, so that whatever still depends on them cannot agree.

    Args:
        model: After `freeze`. Statistics of its BatchNorm layers may move: throw it away.
        freezing: What `freeze` gave.
        probes: Model inputs of batches of different sizes, which tell how shapes follow the batch.
        context: Of the arithmetic: mixed precision or nothing.
    """
    model.train()
    with context, _shaken(model):
        passes = [record(model, probe, seed=_SEED) for probe in probes]
        for candidate in _candidates(model, freezing, passes, probes):
            if all(
                _proven(model, candidate, probe, seen) for probe, seen in zip(probes, passes, strict=True)
            ):
                return candidate
    return None


@contextmanager
def _shaken(model: nn.Module) -> Iterator[None]:
    """What learns moves a little inside: a head that starts from zeros would agree with any features."""
    learning = [p for p in model.parameters() if p.requires_grad]
    kept = [p.detach().clone() for p in learning]
    with seeded(_SEED), torch.no_grad():
        for p in learning:
            p.add_(torch.randn_like(p), alpha=0.02)
    try:
        yield
    finally:
        with torch.no_grad():
            for p, value in zip(learning, kept, strict=True):
                p.copy_(value)


class Suffix(nn.Module):
    """What lies above a cut, as a module of its own that shares the model's weights.

    Its forward takes `features`, the stored tensor of a batch, and the model's inputs (which only a
    cut without a chain looks at); it returns the logits.
    """

    def __init__(self, model: nn.Module, cut: Cut) -> None:
        super().__init__()
        self.cut = cut
        self.model = model if not cut.chain else None
        self.chain = nn.ModuleList(model.get_submodule(name) for name in cut.chain)

    def forward(self, features: Tensor, **inputs: Tensor) -> Tensor:
        """Logits from stored features."""
        if self.model is None:
            for module in self.chain:
                features = module(features)
            return features.squeeze(1) if self.cut.first_only and features.ndim == 3 else features
        rows, length = len(features), length_of(inputs)
        with _Replaced(self.model) as replaced:
            for name, shapes in self.cut.stand_ins.items():
                replaced.output(name, stand_in(shapes, rows, length, features.device))
            replaced.argument(self.cut.module, self.cut.argument, features)
            logits: Tensor = self.model(**inputs).logits
        return logits


class _Reached(Exception):  # noqa: N818  (a jump, not a fault)
    """The forward pass came to the cut."""


def features_at(model: nn.Module, cut: Cut, batch: Mapping[str, Tensor]) -> Tensor:
    """The tensor that enters a cut, without computing anything above it."""

    def stop(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found.append(args[cut.argument] if isinstance(cut.argument, int) else kwargs[cut.argument])
        raise _Reached

    found: list[Tensor] = []
    hook = model.get_submodule(cut.module).register_forward_pre_hook(stop, with_kwargs=True)
    try:
        model(**batch)
    except _Reached:
        pass
    finally:
        hook.remove()
    return found[0][:, :1] if cut.first_only else found[0]


class _Replaced:
    """Forward methods replaced for a while; afterwards the model is as it was."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.modules: list[nn.Module] = []

    def __enter__(self) -> "_Replaced":
        return self

    def __exit__(self, *_: object) -> None:
        for module in self.modules:
            module.__dict__.pop("forward", None)

    def output(self, name: str, value: Any) -> None:
        """Let a module return a value, whatever it gets."""
        self._set(name, lambda *_, **__: value)

    def argument(self, name: str, at: int | str, value: Tensor) -> None:
        """Let a module see a value in the place of one of its arguments."""
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


def _candidates(
    model: nn.Module, freezing: Freezing, passes: Sequence[Recording], probes: Sequence[Mapping[str, Tensor]]
) -> Iterator[Cut]:
    """Chains before stand-ins, as they cost less to run; of each, the smallest stored tensor first."""
    seen, sizes = passes[0], [(rows_of(p), length_of(p)) for p in probes]
    acting = _acting(model, freezing)
    places = list(_places(model, passes, sizes, acting))
    for cut, call in places:
        if chain := _chain(seen, call, acting):
            yield replace(cut, chain=chain)
    for left_real in (set[str](), set(freezing.groups[0].modules)):
        for cut, call in places:
            if shapes := _stand_ins(passes, sizes, call, acting | left_real):
                yield replace(cut, stand_ins=shapes)


def _places(
    model: nn.Module, passes: Sequence[Recording], sizes: Sequence[tuple[int, int]], acting: set[str]
) -> Iterator[tuple[Cut, Call]]:
    """Modules whose input could be stored, from the first that acts up to what is around it."""
    seen = passes[0]
    start = min((seen.begin(name) for name in acting), default=0)
    first = next((call.name for call in seen.calls if call.begin == start), "")
    for name in _upwards(first, seen):
        found = [p.of(name) for p in passes]
        tensors = [calls[0].tensor for calls in found if len(calls) == 1]
        given = [t for t in tensors if t is not None and t.is_floating_point()]
        below = _tensors_below(model, seen, found[0][0])
        if len(given) < len(passes) or not below:
            continue
        argument = found[0][0].argument
        assert argument is not None  # it got a tensor
        for first_only in (True, False) if given[0].ndim == 3 else (False,):
            kept = [t[:, :1] if first_only else t for t in given]
            shape = fit_shape([tuple(t.shape) for t in kept], sizes, kept[0].dtype)
            if shape is not None and shape.is_row_by_row:
                yield Cut(name, argument, first_only, shape, below), found[0][0]


def _acting(model: nn.Module, freezing: Freezing) -> set[str]:
    """Modules that learn, gather statistics or drop out: nothing of theirs may lie below the cut."""
    return {name for name in freezing.moving if _acts(model.get_submodule(name))}


def _acts(module: nn.Module) -> bool:
    if any(p.requires_grad for p in module.parameters(recurse=False)):
        return True
    if "drop" in type(module).__name__.lower():
        return any(getattr(module, rate, 0) for rate in ("p", "drop_prob", "prob"))
    return is_norm(module) and any(True for _ in module.buffers(recurse=False))


def _upwards(name: str, seen: Recording) -> Iterator[str]:
    """A module and those around it, as long as nothing with weights ran in them before it."""
    start = seen.begin(name)
    while name:
        if seen.of(name):
            yield name
        name = name.rpartition(".")[0]
        inside = [c for c in seen.calls if c.name.startswith(name + ".") and c.end >= 0 and c.end < start]
        if inside:
            return


def _tensors_below(model: nn.Module, seen: Recording, call: Call) -> tuple[str, ...]:
    """Parameters and buffers of everything that runs, or holds what runs, before a call."""
    names = (*(n for n, _ in model.named_parameters()), *(n for n, _ in model.named_buffers()))
    return tuple(
        name
        for name in names
        if seen.begin(name.rpartition(".")[0]) < call.begin and not name.startswith(call.name + ".")
    )


def _chain(seen: Recording, start: Call, acting: set[str]) -> tuple[str, ...]:
    """The outermost calls from a call to the end of the pass; empty if they cannot be a chain."""
    chain: list[Call] = []
    for call in seen.calls:
        if call.begin >= start.begin and (not chain or call.begin > chain[-1].end):
            chain.append(call)
    names = [call.name for call in chain]
    usable = all(call.alone and isinstance(call.output, Tensor) for call in chain)
    whole = all(any(_inside(place, name) for name in names) for place in acting)
    return tuple(names) if usable and whole and len(set(names)) == len(names) else ()


def _stand_ins(
    passes: Sequence[Recording], sizes: Sequence[tuple[int, int]], start: Call, real: set[str]
) -> dict[str, Any]:
    """Shapes of what the outermost modules return that are done before a call and hold nothing of `real`."""
    seen, found = passes[0], dict[str, Any]()
    last = {call.name: call.end for call in seen.calls}
    for call in seen.calls:
        name = call.name
        if call.begin >= start.begin or any(_inside(name, outer) for outer in found):
            continue
        within = [end for other, end in last.items() if _inside(other, name)]
        done = all(0 <= end < start.begin for end in within)
        if done and not any(_inside(place, name) for place in real):
            outputs = [p.of(name)[0].output for p in passes]
            shapes = fit_tree(outputs, sizes)
            if shapes is None:
                continue  # what it returns cannot be stood in for, so its parts are tried
            found[name] = shapes
    return found


def _proven(model: nn.Module, cut: Cut, probe: Mapping[str, Tensor], seen: Recording) -> bool:
    """Whether a pass from the cut on gives the logits of the whole pass."""
    entered = seen.of(cut.module)[0].tensor
    assert entered is not None  # a candidate has one
    try:
        with seeded(_SEED), torch.no_grad():
            features = _stored(model, cut, probe)
            if not _agree(features, entered[:, :1] if cut.first_only else entered):
                return False  # attention, say, may drop out by itself, without a module of that name
            logits = Suffix(model, cut)(features, **_without_floats(probe))
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, KeyError, AssertionError):
        return False  # a model that cannot run on stand-ins is no error: it is run whole
    return logits.shape == seen.logits.shape and _agree(logits, seen.logits)


def _stored(model: nn.Module, cut: Cut, probe: Mapping[str, Tensor]) -> Tensor:
    """What a store would hold: it is computed in eval mode."""
    model.eval()
    try:
        return features_at(model, cut, probe)
    finally:
        model.train()


def _without_floats(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A batch as replaying gives it: NaN for pixels, which lie below the cut."""
    return {
        name: torch.full_like(value, float("nan")) if value.is_floating_point() else value
        for name, value in batch.items()
    }


def _agree(found: Tensor, wanted: Tensor) -> bool:
    """Equal to the bit; on a GPU, whose kernels may differ from call to call, nearly so."""
    if found.device.type == "cpu":
        return torch.equal(found, wanted)
    scale = float(wanted.float().abs().max())
    near = 1e-5 if wanted.dtype == torch.float32 else 2e-2
    return bool(((found - wanted).abs().float() <= near * max(scale, 1)).all())


def _inside(name: str, outer: str) -> bool:
    return name == outer or name.startswith(outer + ".")
