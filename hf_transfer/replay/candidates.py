"""List the modules whose input could be stored; the proof checks them one by one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.layers.freezing import Freezing
from hf_transfer.layers.spec import is_norm
from hf_transfer.replay.calls import Call, Recording
from hf_transfer.replay.cut import Cut
from hf_transfer.replay.shapes import fit_shape, fit_tree, length_of, rows_of


def candidates(
    model: nn.Module, freezing: Freezing, passes: Sequence[Recording], probes: Sequence[Mapping[str, Tensor]]
) -> Iterator[Cut]:
    """Yield possible cuts, the cheapest first: chains before stand-ins, small tensors before large ones."""
    seen, sizes = passes[0], [(rows_of(p), length_of(p, model)) for p in probes]
    acting = _acting(model, freezing)
    uncut = list(_places(model, passes, sizes, acting))
    for cut, call in uncut:
        if chain := _chain(seen, call, acting):
            yield replace(cut, chain=chain)
    for left_real in (set[str](), set(freezing.groups[0].modules)):
        for cut, call in uncut:
            if shapes := _stand_ins(passes, sizes, call, acting | left_real):
                yield replace(cut, stand_ins=shapes)
                yield replace(cut, stand_ins=shapes, written_to=True)


def _places(
    model: nn.Module, passes: Sequence[Recording], sizes: Sequence[tuple[int, int]], acting: set[str]
) -> Iterator[tuple[Cut, Call]]:
    """Yield modules whose input could be stored, from the first active one outwards."""
    seen = passes[0]
    start = min((seen.begin(name) for name in acting), default=0)
    first = next((call.name for call in seen.calls if call.begin == start), "")
    for name in _upwards(first, seen):
        calls_of = [p.of(name) for p in passes]
        tensors = [calls[0].tensor for calls in calls_of if len(calls) == 1]
        inputs = [t for t in tensors if t is not None and t.is_floating_point()]
        below = _tensors_below(model, seen, calls_of[0][0])
        if len(inputs) < len(passes) or not below:
            continue
        argument = calls_of[0][0].argument
        assert argument is not None  # it got a tensor
        for first_only in (True, False) if inputs[0].ndim == 3 else (False,):
            stored = [t[:, :1] if first_only else t for t in inputs]
            shape = fit_shape([tuple(t.shape) for t in stored], sizes, stored[0].dtype)
            if shape is not None and shape.is_row_by_row:
                yield Cut(name, argument, first_only, shape, below), calls_of[0][0]


def _acting(model: nn.Module, freezing: Freezing) -> set[str]:
    """Modules that learn, gather statistics or drop out; none of them may lie below the cut."""
    return {name for name in freezing.moving if _acts(model.get_submodule(name))}


def _acts(module: nn.Module) -> bool:
    if any(p.requires_grad for p in module.parameters(recurse=False)):
        return True
    if "drop" in type(module).__name__.lower():
        return any(getattr(module, rate, 0) for rate in ("p", "drop_prob", "prob"))
    return is_norm(module) and any(True for _ in module.buffers(recurse=False))


def _upwards(name: str, seen: Recording) -> Iterator[str]:
    """Yield a module and its parents, until a parent ran something with weights earlier."""
    start = seen.begin(name)
    while name:
        if seen.of(name):
            yield name
        name = name.rpartition(".")[0]
        inside = [c for c in seen.calls if c.name.startswith(name + ".") and c.end >= 0 and c.end < start]
        if inside:
            return


def _tensors_below(model: nn.Module, seen: Recording, call: Call) -> tuple[str, ...]:
    """Parameters and buffers of all modules that ran, or contain one that ran, before a call."""
    names = (*(n for n, _ in model.named_parameters()), *(n for n, _ in model.named_buffers()))
    return tuple(
        name
        for name in names
        if seen.begin(name.rpartition(".")[0]) < call.begin and not name.startswith(call.name + ".")
    )


def _chain(seen: Recording, start: Call, acting: set[str]) -> tuple[str, ...]:
    """The outermost calls from here to the end of the pass; empty if they do not form a chain."""
    chain: list[Call] = []
    for call in seen.calls:
        if call.begin >= start.begin and (not chain or call.begin > chain[-1].end):
            chain.append(call)
    names = [call.name for call in chain]
    usable = all(call.alone and isinstance(call.output, Tensor) for call in chain)
    whole = all(any(_inside(active, name) for name in names) for active in acting)
    return tuple(names) if usable and whole and len(set(names)) == len(names) else ()


def _stand_ins(
    passes: Sequence[Recording], sizes: Sequence[tuple[int, int]], start: Call, real: set[str]
) -> dict[str, Any]:
    """Output shapes of the outermost modules that finish before a call and contain nothing of `real`."""
    seen, stand_ins = passes[0], dict[str, Any]()
    last = {call.name: call.end for call in seen.calls}
    for call in seen.calls:
        name = call.name
        if call.begin >= start.begin or any(_inside(name, outer) for outer in stand_ins):
            continue
        within = [end for other, end in last.items() if _inside(other, name)]
        done = all(0 <= end < start.begin for end in within)
        if done and not any(_inside(active, name) for active in real):
            outputs = [p.of(name)[0].output for p in passes]
            shapes = fit_tree(outputs, sizes)
            if shapes is None:
                continue  # what it returns cannot be stood in for, so its parts are tried
            stand_ins[name] = shapes
    return stand_ins


def _inside(name: str, outer: str) -> bool:
    return name == outer or name.startswith(outer + ".")
