"""Freeze layers as a mode, prove that they did not move, and build the optimizer's parameter groups."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import LayerSelectionError
from hf_transfer.layers.adapters import adapter_rank, add_adapters
from hf_transfer.layers.groups import LayerGroup, layer_groups
from hf_transfer.layers.shards import joined, local
from hf_transfer.layers.spec import Selection, is_norm, select_parameters
from hf_transfer.machine.environment import pool_size
from hf_transfer.machine.wording import setting, some, table_html


@dataclass(frozen=True, repr=False)
class Freezing:
    """What `freeze` did: layer groups, trainable parameters, and modules that move in training."""

    spec: str
    groups: tuple[LayerGroup, ...]
    trainable: frozenset[str]
    moving: frozenset[str]

    @property
    def frozen_groups(self) -> tuple[str, ...]:
        """Names of the groups without trainable parameters or moving statistics."""
        return tuple(
            group.name
            for group in self.groups
            if self.trainable.isdisjoint(group.parameters) and self.moving.isdisjoint(group.modules)
        )

    def __repr__(self) -> str:
        frozen = self.frozen_groups
        learns = [group.name for group in self.groups if group.name not in frozen]
        parts = (
            f"{what} {some(names, noun='group')}"
            for what, names in (("learns", learns), ("frozen", frozen))
            if names
        )
        return f"Freezing({self.spec!r}: {'; '.join(parts)})"


def freeze(
    model: nn.Module, trainable: str = "head", *, norm: str = "auto", only: Collection[str] | None = None
) -> Freezing:
    """Make only the selected layers trainable; keep the others still through every later `model.train()`.

    A frozen layer has no gradient and stays in eval mode, so that its dropout is off and its
    BatchNorm statistics do not move. Calling it again replaces the earlier selection.

    Args:
        model: Any model; see `layer_groups` for how it is divided.
        trainable: `all`, `head`, `last:N`, `last:50%`, `from:NAME`, or comma-separated globs and
            `re:` patterns of group, module or parameter names, of which the last match wins and `-`
            in front freezes (the head learns unless it is frozen so). `+norm` and `+bias` add all
            normalisation layers or biases; `+lora` or `+lora:4` puts adapters into the model, of rank
            8 or 4, beside the attention's weights (needs peft).
        norm: Normalisation layers below the head: `auto` as their group, `freeze` all, `train` all.
        only: Of what is selected, keep these groups; for schedules that unfreeze step by step.

    Raises:
        LayerSelectionError: If a name matches nothing, nothing would learn, a tied weight would be
            half frozen, or adapters cannot be made.
    """
    if rank := adapter_rank(trainable):
        add_adapters(model, rank)
    groups = layer_groups(model)
    selection = select_parameters(model, _with_aliases(model, groups), trainable, norm)
    if only is not None:
        selection = selection.within(
            name for group in groups if group.name in only for name in group.parameters
        )
    _check_ties(model, selection.names)
    selection = selection.within(name for name, _ in model.named_parameters())
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in selection.names)
    moving = _moving_modules(model, groups, selection)
    held = _held_modules(model, moving)
    still = _still_containers(groups, moving)
    for name, module in model.named_modules():
        _release(module)
        if name in held:
            module.__dict__["train"] = _StayInEval(module)
        elif name in still:
            module.__dict__["train"] = _StillItself(module)
    model.train(model.training)
    return Freezing(trainable, groups, selection.names, moving)


def parameter_groups(
    model: nn.Module, *, learning_rate: float, weight_decay: float = 0.0, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """Build the optimizer's groups: a learning rate for each depth, no decay for norms and biases.

    Args:
        model: After `freeze`, or any model whose `requires_grad` flags say what learns.
        learning_rate: Of the head.
        weight_decay: Of weight matrices.
        layer_decay: Factor per layer group below the head; 0.75 is usual for vision transformers,
            0.9 for text, 1 for ResNets.

    References:
        Howard and Ruder, "Universal Language Model Fine-tuning", ACL 2018, https://arxiv.org/abs/1801.06146.
    """
    groups = layer_groups(model)
    parameters, modules = dict(model.named_parameters()), dict(model.named_modules())
    result = []
    for distance, group in enumerate(reversed(groups)):
        learns = {name: parameters[name] for name in group.parameters if parameters[name].requires_grad}
        plain = {
            name for name in learns if learns[name].ndim < 2 or is_norm(modules[name.rpartition(".")[0]])
        }
        for decays, chosen in ((True, learns.keys() - plain), (False, plain)):
            if chosen:
                result.append(
                    {
                        "name": group.name,
                        "params": [p for name, p in learns.items() if name in chosen],
                        "lr": learning_rate * layer_decay**distance,
                        "weight_decay": weight_decay if decays else 0.0,
                    }
                )
    return result[::-1]


def frozen_hash(model: nn.Module, freezing: Freezing) -> str | None:
    """Digest of every parameter and buffer that must not move; None if nothing is frozen.

    Equal digests before and after training prove the freeze, BatchNorm statistics included.
    """
    names = tuple(_frozen_tensors(model, freezing))
    return tensor_digest(model, names) if names else None


def trained_hash(model: nn.Module, freezing: Freezing) -> str:
    """Digest of every parameter and buffer that training may move; it identifies the trained model."""
    return tensor_digest(model, sorted(name for name, _ in moving_tensors(model, freezing)))


def moving_tensors(model: nn.Module, freezing: Freezing) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers that training may change, by their names in the model."""
    yield from ((n, p) for n, p in model.named_parameters() if n in freezing.trainable)
    yield from ((n, b) for n, b in model.named_buffers() if n.rpartition(".")[0] in freezing.moving)


def tensor_digest(model: nn.Module, names: Iterable[str]) -> str:
    """Digest of some parameters and buffers, by their names in the model.

    Of a sharded model it is that of all shards, which all processes must ask for.
    """
    names = list(names)
    tensors = dict(chain(model.named_parameters(), model.named_buffers()))
    # Several at a time: hashing leaves the interpreter to other threads.
    with ThreadPoolExecutor(pool_size()) as pool:
        digests = list(pool.map(_digest, [local(tensors[name]) for name in names]))
    digests = joined(digests, [tensors[name] for name in names])
    whole = hashlib.sha256()
    for name, digest in zip(names, digests, strict=True):
        whole.update(name.encode() + b"\0" + digest)
    return whole.hexdigest()[:32]


def _digest(tensor: Tensor) -> bytes:
    # SHA-256, as processors of today have instructions for it: twice as fast as BLAKE2 on an AMD EPYC.
    plain = tensor.detach().contiguous().cpu().flatten().view(torch.uint8)
    return hashlib.sha256(plain.numpy().data).digest()


def _frozen_tensors(model: nn.Module, freezing: Freezing) -> Iterator[str]:
    yield from (name for name, _ in model.named_parameters() if name not in freezing.trainable)
    yield from (name for name, _ in model.named_buffers() if name.rpartition(".")[0] not in freezing.moving)


class FreezeTable(list[dict[str, Any]]):
    """The rows of a freeze table, which a notebook shows as a table."""

    def _repr_html_(self) -> str:
        names = list(self[0]) if self else []
        rows = [["-" if row[name] is None else setting(row[name]) for name in names] for row in self]
        return table_html([[name.replace("_", " ") for name in names], *rows])


def freeze_table(
    model: nn.Module, freezing: Freezing, *, learning_rate: float | None = None, layer_decay: float = 1.0
) -> FreezeTable:
    """Describe each layer group after `freeze`: sizes, what learns, learning rate, and modes."""
    parameters = dict(model.named_parameters())
    rows = []
    for distance, group in enumerate(reversed(freezing.groups)):
        total = sum(parameters[name].numel() for name in group.parameters)
        learns = sum(parameters[name].numel() for name in group.parameters if name in freezing.trainable)
        modules = {name: model.get_submodule(name) for name in group.modules}
        rows.append(
            {
                "group": group.name,
                "modules": len(modules),
                "parameters": total,
                "trainable": learns,
                "status": "trains" if learns == total and total else "partly" if learns else "frozen",
                "learning_rate": learning_rate * layer_decay**distance if learns and learning_rate else None,
                "norm": _norm_mode(modules, freezing),
                "dropout": _dropout_mode(modules, freezing),
            }
        )
    return FreezeTable(rows[::-1])


def _norm_mode(modules: dict[str, nn.Module], freezing: Freezing) -> str:
    norms = [name for name, module in modules.items() if is_norm(module)]
    if not norms:
        return "-"
    learns = [name for name in norms if any(f"{name}.{p}" in freezing.trainable for p in ("weight", "bias"))]
    return "learns" if learns else "fixed" if freezing.moving.isdisjoint(norms) else "moves"


def _dropout_mode(modules: dict[str, nn.Module], freezing: Freezing) -> str:
    drops = [name for name, module in modules.items() if "drop" in type(module).__name__.lower()]
    return "-" if not drops else "off" if freezing.moving.isdisjoint(drops) else "on"


def _with_aliases(model: nn.Module, groups: Sequence[LayerGroup]) -> tuple[LayerGroup, ...]:
    """The groups with all names of each tied weight, not just the first."""
    group_of = {module: group.name for group in groups for module in group.modules}
    names: defaultdict[str, list[str]] = defaultdict(list)
    for name, _ in model.named_parameters(remove_duplicate=False):
        names[group_of.get(name.rpartition(".")[0], "")].append(name)
    return tuple(replace(group, parameters=tuple(names[group.name])) for group in groups)


def _check_ties(model: nn.Module, names: frozenset[str]) -> None:
    """Refuse to freeze one name of a tied weight and train another."""
    first: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        other = first.setdefault(id(parameter), name)
        if (other in names) != (name in names):
            raise LayerSelectionError(
                f"{other!r} and {name!r} are one tied weight, of which only one is selected. "
                "Select both or neither."
            )


def _moving_modules(model: nn.Module, groups: Sequence[LayerGroup], selection: Selection) -> frozenset[str]:
    """Modules of the trained groups that have weights, dropout or running statistics."""
    moving, modules = set(), dict(model.named_modules())
    for group in groups:
        active = not selection.active.isdisjoint(group.parameters)
        for name in group.modules:
            module = modules[name]
            own = {f"{name}.{p}".lstrip(".") for p, _ in module.named_parameters(recurse=False)}
            if not own and is_norm(module):  # statistics without weights
                moves = selection.norm == "train" or (
                    active and (selection.norm == "auto" or group is groups[-1])
                )
            else:
                moves = bool(own & selection.names) if own else active
            if moves:
                moving.add(name)
    return frozenset(moving)


def _held_modules(model: nn.Module, moving: frozenset[str]) -> frozenset[str]:
    """Modules to keep in eval mode: frozen ones, and containers of nothing but frozen ones."""
    above = {name[:i] for name in moving for i, letter in enumerate(name) if letter == "."} | {""}
    return frozenset(name for name, _ in model.named_modules() if name not in moving | above)


def _still_containers(groups: Sequence[LayerGroup], moving: frozenset[str]) -> frozenset[str]:
    """Modules around frozen groups and learning ones, such as an encoder, but not around the output layer.

    They may draw by themselves: SpecAugment and LayerDrop of speech models change what frozen layers put out.
    """
    frozen = [group for group in groups[:-1] if moving.isdisjoint(group.modules)]
    around = {name for group in frozen for module in group.modules for name in _around(module)}
    return frozenset(around - set(_around(groups[-1].modules[-1])) - moving)


def _around(name: str) -> list[str]:
    """A module and its parents, without the model itself."""
    return [name[:i] for i, letter in enumerate(name) if letter == "."] + [name] if name else []


class _StayInEval:
    """Replacement of `train` on a frozen module: it stays in eval mode, with all its children.

    A class, as a pickle cannot name a function that was bound to a module.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, mode: bool = True) -> nn.Module:
        return nn.Module.train(self.module, False)


class _StillItself(_StayInEval):
    """Replacement of `train` on a module that stays in eval mode itself, but not its children."""

    def __call__(self, mode: bool = True) -> nn.Module:
        nn.Module.train(self.module, mode)
        self.module.training = False
        return self.module


def _release(module: nn.Module) -> None:
    module.__dict__.pop("train", None)
