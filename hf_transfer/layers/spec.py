"""Parse `trainable`: from `last:4` or `head+norm` to the parameters that learn."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import chain

from torch import nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import LayerSelectionError
from hf_transfer.layers.adapters import is_adapter
from hf_transfer.layers.groups import LayerGroup

_ADDED = re.compile(r"\+(norm|bias|lora)(?::\d+)?$")

_FEW, _MOST = 4, 20  # modules that a message shows


@dataclass(frozen=True)
class Selection:
    """Selected parameters, and those whose groups count as active, with dropout on."""

    names: frozenset[str]
    active: frozenset[str]
    norm: str

    def within(self, names: Iterable[str]) -> "Selection":
        """The part of the selection among some parameters."""
        kept = frozenset(names)
        return replace(self, names=self.names & kept, active=self.active & kept)


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a normalisation layer: BatchNorm, LayerNorm, GroupNorm, RMSNorm or a variant."""
    owns = any(True for _ in chain(module.parameters(recurse=False), module.buffers(recurse=False)))
    leaf = not any(True for _ in module.children())  # a ConvNormAct only contains one
    return "norm" in type(module).__name__.lower() and (owns or leaf)


def select_parameters(
    model: nn.Module, groups: Sequence[LayerGroup], trainable: str, norm: str = "auto"
) -> Selection:
    """Select the parameters that `trainable` names; `freeze` documents its words.

    A normalisation layer that learns inside a frozen group does not make that group active.

    Raises:
        LayerSelectionError: If a part of `trainable` matches nothing, or nothing would learn.
    """
    spec, added = trainable.strip(), set()
    while match := _ADDED.search(spec):
        added.add(match[1])
        spec = spec[: match.start()].strip()
    core = _core(model, groups, spec, trainable)
    everything = [name for group in groups for name in group.parameters]
    if "bias" in added:
        core |= {name for name in everything if name.endswith("bias")}
    if "lora" in added:
        core |= {name for name in everything if is_adapter(name)}
    modules = dict(model.named_modules(remove_duplicate=False))
    norms = {name for name in everything if is_norm(modules[name.rpartition(".")[0]])}
    names = set(core)
    if "norm" in added:
        norm = "train"
    if norm == "train":
        names |= norms
    elif norm == "freeze":
        names -= norms - set(groups[-1].parameters)
    if not names:
        raise LayerSelectionError(f"trainable={trainable!r} leaves nothing to learn. {_allowed(groups)}")
    return Selection(frozenset(names), frozenset(core), norm)


def _core(model: nn.Module, groups: Sequence[LayerGroup], spec: str, given: str) -> set[str]:
    if spec == "all":
        return _names(groups)
    if spec == "head":
        return _names(groups[-1:])
    if spec.startswith("last:"):
        return _names(groups[-1 - _num_blocks(model, groups, spec, given) :])
    if spec.startswith("from:"):
        return _from(groups, spec.removeprefix("from:"), given)
    return _patterns(model, groups, [part.strip() for part in spec.split(",")], given)


def _names(groups: Sequence[LayerGroup]) -> set[str]:
    return {name for group in groups for name in group.parameters}


def _num_blocks(model: nn.Module, groups: Sequence[LayerGroup], spec: str, given: str) -> int:
    blocks = len(groups) - 2
    number = re.fullmatch(r"last:(\d+)(%?)", spec)
    if number is None:
        raise LayerSelectionError(f"trainable={given!r} is not a number of blocks. {_allowed(groups)}")
    wanted = math.ceil(int(number[1]) * blocks / 100) if number[2] else int(number[1])
    if wanted and not blocks:
        raise LayerSelectionError(
            f"trainable={given!r} asks for blocks, and none of this model's can learn without the others: it "
            "has no layers that repeat, or they share their weights (as ALBERT's do). Use 'head', 'all', or "
            f"'from:NAME' with a module of its: {_modules(model)}."
        )
    if wanted > blocks:
        raise LayerSelectionError(
            f"trainable={given!r} asks for more blocks than there are. {_allowed(groups)}"
        )
    return wanted


def _modules(model: nn.Module) -> str:
    """The modules that learn, from the outermost down to where there are several to choose from."""
    names = [name for name, part in model.named_modules() if name and any(True for _ in part.parameters())]
    deepest = max((name.count(".") for name in names), default=0)
    for depth in range(deepest + 1):
        shown = [name for name in names if name.count(".") <= depth]
        if len(shown) >= _FEW:
            break
    return ", ".join([*shown[:_MOST], *["…"] * (len(shown) > _MOST)])


def _from(groups: Sequence[LayerGroup], name: str, given: str) -> set[str]:
    """All parameters from a group, or a module within one, up to the head."""
    for index, group in enumerate(groups):
        if group.name == name:
            return _names(groups[index:])
    for index, group in enumerate(groups):
        for position, module in enumerate(group.modules):
            if module == name or module.startswith(name + "."):
                rest = set(group.modules[position:])
                inside = {p for p in group.parameters if p.rpartition(".")[0] in rest}
                return inside | _names(groups[index + 1 :])
    raise LayerSelectionError(
        f"trainable={given!r}: no group or module is called {name!r}. {_allowed(groups)}"
    )


def _patterns(model: nn.Module, groups: Sequence[LayerGroup], patterns: list[str], given: str) -> set[str]:
    """Globs and `re:` patterns in order; the last match wins, and `-` freezes."""
    group_of = {name: group.name for group in groups for name in group.parameters}
    # Only taking away means taking away from everything; a new head that stays frozen is no use.
    selected = _names(groups) if patterns[0].startswith("-") else _names(groups[-1:])
    for signed in patterns:
        pattern = signed.removeprefix("-")
        matched = {name for name, group in group_of.items() if _matches(pattern, name, group)}
        if not matched:
            raise LayerSelectionError(
                f"trainable={given!r}: {pattern!r} matches no layers. {_allowed(groups)}"
            )
        selected = selected - matched if signed.startswith("-") else selected | matched
    return selected


def _matches(pattern: str, name: str, group: str) -> bool:
    if pattern.startswith("re:"):
        try:
            return bool(re.search(pattern.removeprefix("re:"), name))
        except re.error as error:
            raise LayerSelectionError(f"{pattern!r} is not a regular expression: {error}.") from error
    return fnmatchcase(group, pattern) or fnmatchcase(name, pattern) or fnmatchcase(name, pattern + ".*")


def _allowed(groups: Sequence[LayerGroup]) -> str:
    names = [group.name for group in groups]
    shown = names if len(names) < 5 else [*names[:2], "…", *names[-2:]]
    return (
        f"Use 'all', 'head', 'last:N' with N from 0 to {len(names) - 2}, 'last:50%', 'from:NAME', or globs "
        f"of group, module or parameter names; the groups are {', '.join(shown)}."
    )
