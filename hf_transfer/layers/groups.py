"""Divide a model by depth into layer groups: `stem`, `block.0` … `block.n-1`, `head`."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, pairwise, takewhile
from typing import Any

import torch
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401

# Where transformers keeps its blocks, most specific first. Each pattern ends at the block itself.
_BLOCKS = (
    r"(?:.+\.)?stages\.(\d+)\.layers\.(\d+)(?=\.|$)",  # ResNet, ConvNeXt, RegNet
    r"(?:.+\.)?layers\.(\d+)\.blocks\.(\d+)(?=\.|$)",  # Swin
    r"(?:.+\.)?(?:encoder|transformer)\.layer\.(\d+)(?=\.|$)",  # BERT, RoBERTa, ELECTRA, DeBERTa, DistilBERT
    r"\w+\.(?:encoder\.)?layers\.(\d+)(?=\.|$)",  # ViT, DeiT, ModernBERT
)
# Registered after the blocks of DeBERTa and MPNet, but part of what every block reads.
_BEFORE_BLOCKS = re.compile(
    r".+\.encoder\.(rel_embeddings|relative_attention_bias|LayerNorm|conv)(\.|$)|.*\.?rotary_emb$"
)

# Defined before the blocks of GTE and among those of Perceiver, but works on what comes out of the last one.
_AFTER_BLOCKS = re.compile(r"\w+\.pooler(\.|$)|perceiver\.decoder\.")

# What a model raises that needs more than a batch of its main input, or that is on `meta` and empty.
_CANNOT_RUN = (RuntimeError, ValueError, TypeError, AttributeError, LookupError)

# Classifiers of the middle of a network, which only help to train it from scratch.
_ASIDE = re.compile(r"(^|\.)(aux|Aux)\w*")

_FEWEST_WEIGHTS = 2  # of a block; one with a norm and an activation is a part of one
_MOSTLY = 0.8

_Key = tuple[float, ...]
_TOP = 99999  # timm's number of what follows the last block
_STEM: _Key = (-1.0,)
_HEAD: _Key = (float("inf"),)


@dataclass(frozen=True, repr=False)
class LayerGroup:
    """Layers of one depth, by their names in the model."""

    name: str
    modules: tuple[str, ...]
    parameters: tuple[str, ...]
    buffers: tuple[str, ...]

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(vars(self)[name])} {name}" for name in ("modules", "parameters", "buffers"))
        return f"LayerGroup({self.name!r}: {sizes})"


def layer_groups(model: nn.Module, example: Mapping[str, Any] | None = None) -> tuple[LayerGroup, ...]:
    """Divide a model into ordered groups from input to output; each tensor is in exactly one.

    timm models say themselves how they divide (`group_matcher`); the families of transformers are
    known by the names of their blocks; any other model is divided at the module class that repeats
    and holds most of the parameters. What follows the last block (pooler, final norm) is `head`.

    Args:
        model: From transformers, timm, or anywhere.
        example: One batch of keyword arguments. A model that nobody listed is run on it once, and
            its layers are taken in order of execution; without one (transformers' models need
            none) in order of definition.
    """
    names = _leaves(model)
    keys = _block_keys(model, names)
    if not any(key not in (_STEM, _HEAD, None) for key in keys.values()):
        names = _execution_order(model, names, example) if example else _order_of_use(model, names)
        keys = _repeated_blocks(model, names)
    classifier = _classifier(model, names, keys)
    above = dict.fromkeys([*_above_blocks(model, names), *classifier])
    names = [*(name for name in names if name not in above), *above]
    filled = _fill(names, keys | dict.fromkeys(above, _HEAD))
    classifier = classifier or _beside_base(model, filled)
    return _build(model, names, _neck_apart(model, filled, classifier) if classifier else filled)


def _classifier(model: nn.Module, names: Sequence[str], keys: Mapping[str, _Key | None]) -> dict[str, None]:
    """The modules that a new task replaces, where timm says it or the layout of a model shows it."""
    inner = getattr(model, "timm_model", model)
    said = (getattr(inner, "pretrained_cfg", None) or {}).get("classifier")
    if said:
        prefix = "timm_model." if inner is not model else ""
        tops = [prefix + name for name in ([said] if isinstance(said, str) else said)]
        found = dict.fromkeys(name for name in names if any(_inside(name, top) for top in tops))
        return found if any(True for name in found for _ in model.get_submodule(name).parameters()) else {}
    if isinstance(getattr(model, getattr(model, "base_model_prefix", ""), None), nn.Module):
        return {}
    weighty = [name for name in names if name and _num_weights(model.get_submodule(name))]
    weighty = [name for name in weighty if not _ASIDE.search(name)] or weighty
    if len(weighty) < 2 or keys[weighty[-1]]:  # it ends with a block
        return {}
    last = weighty[-1]
    top = last.partition(".")[0]
    whole = not type(model).__module__.startswith("torchvision.") and not any(
        keys[name] for name in names if _inside(name, top)
    )
    # Somebody's own head may have several layers, all new; torchvision's has pretrained ones below the last.
    return dict.fromkeys(
        name for name in names if _inside(name, top if whole else last) or _ASIDE.search(name)
    )


def _beside_base(model: nn.Module, keys: Mapping[str, _Key]) -> dict[str, None]:
    """What a transformers model has beside its base, if convolutions of that lie above the last block."""
    base = getattr(model, "base_model_prefix", "")
    top = [name for name, key in keys.items() if key == _HEAD]
    neck = [name for name in top if base and _inside(name, base)]
    convolves = any(p.ndim > 2 for name in neck for p in model.get_submodule(name).parameters())
    return dict.fromkeys(name for name in top if name not in neck) if convolves else {}


def _neck_apart(
    model: nn.Module, keys: Mapping[str, _Key], classifier: Mapping[str, None]
) -> dict[str, _Key]:
    """Make pretrained layers between the last block and the classifier a block; norms alone join the last."""
    neck = [name for name, key in keys.items() if key == _HEAD and name not in classifier]
    blocks = [key for key in keys.values() if key not in (_STEM, _HEAD)]
    if not blocks:
        return dict(keys)
    top = max(blocks)
    apart = any(_num_weights(model.get_submodule(name)) for name in neck)
    return dict(keys) | dict.fromkeys(neck, (top[0] + 1,) if apart else top)


def _above_blocks(model: nn.Module, names: Sequence[str]) -> dict[str, None]:
    """Put what a transformers classifier has beside its base model into the head, wherever it is defined."""
    base = getattr(model, "base_model_prefix", "")
    if not isinstance(getattr(model, base, None), nn.Module):
        return {}
    # The norm that speech models define before their blocks stands behind them in those of this kind.
    norm_last = getattr(getattr(model, "config", None), "do_stable_layer_norm", False)
    after = [
        name
        for name in names
        if _AFTER_BLOCKS.match(name) or (norm_last and name.endswith(".encoder.layer_norm"))
    ]
    return dict.fromkeys([*after, *(name for name in names if not _inside(name, base))])


def _leaves(model: nn.Module) -> list[str]:
    """Names of the modules that own a tensor or have no children, in order of definition."""
    return [
        name
        for name, module in model.named_modules()
        if any(True for _ in _tensors(model, name)) or not any(True for _ in module.children())
    ]


def _tensors(model: nn.Module, name: str) -> Iterator[Tensor]:
    module = model.get_submodule(name)
    return chain(module.parameters(recurse=False), module.buffers(recurse=False))


def _block_keys(model: nn.Module, names: Sequence[str]) -> dict[str, _Key | None]:
    """Sort key of each module that a known layout names; the order of keys is the order of groups."""
    inner = getattr(model, "timm_model", model)
    group_matcher = getattr(inner, "group_matcher", None)
    if callable(group_matcher):
        prefix = "timm_model." if inner is not model else ""
        matcher = group_matcher(coarse=False)
        return {name: _timm_key(name.removeprefix(prefix), matcher) for name in names}
    pattern = next((p for p in _BLOCKS if _numbers_blocks(p, names)), None)
    if pattern is None:
        return dict.fromkeys(names)
    return {name: _transformers_key(name, re.compile(pattern)) for name in names}


def _numbers_blocks(pattern: str, names: Sequence[str]) -> bool:
    """Whether a pattern finds blocks, of one list: an encoder and a decoder count alike."""
    found = [match for name in names if (match := re.match(pattern, name))]
    return len(found) > 1 and len({match.string[: match.start(1)] for match in found}) == 1


def _transformers_key(name: str, pattern: re.Pattern[str]) -> _Key | None:
    if _BEFORE_BLOCKS.match(name):
        return _STEM
    match = pattern.match(name)
    return tuple(float(part) for part in match.groups()) if match else None


def _timm_key(name: str, matcher: Any) -> _Key | None:
    """Sort key from timm's table: first the stem, then blocks; 99999 stands for what follows."""
    if callable(matcher):
        number = matcher(name)
        top = number == _TOP or not math.isfinite(number)
        return _HEAD if top else _STEM if number == 0 else (0.0, float(number))
    for ordinal, rules in enumerate(matcher.values()):
        for pattern, suffix in [(rules, None)] if isinstance(rules, str) else rules or ():
            match = re.match(pattern, name)
            if match is None:
                continue
            numbers = tuple(float(part) for part in match.groups() if part is not None)
            if suffix and suffix[0] == _TOP:
                return _HEAD if not numbers else None
            return _STEM if ordinal == 0 and not numbers else (ordinal, *numbers, *(suffix or ()))
    return None


def _repeated_blocks(model: nn.Module, names: Sequence[str]) -> dict[str, _Key | None]:
    """Blocks of an unknown architecture: modules of several weights in a row, or else single layers."""
    blocks = _blocks_of(model, names)
    order = {name: number for number, name in enumerate(names)}
    first = {b: min((order[p] for p in names if _inside(p, b)), default=len(names)) for b in blocks}
    ranks = {block: float(rank) for rank, block in enumerate(sorted(blocks, key=first.__getitem__))}
    return {p: next(((ranks[b],) for b in blocks if _inside(p, b)), None) for p in names}


def _blocks_of(model: nn.Module, names: Sequence[str]) -> list[str]:
    path = [""]
    while len(units := _units(model.get_submodule(path[-1]))) == 1:
        path.append(f"{path[-1]}.{units[0]}".lstrip("."))
    if units:
        return [f"{path[-1]}.{unit}".lstrip(".") for unit in units]
    parts = model.get_submodule(path[-1]).modules()
    if len(path) > 1 and not any(_is_list(part) and len(list(part.children())) > 1 for part in parts):
        # One module, such as an LSTM; or layers of transformers that share their weights.
        return [] if hasattr(model, "base_model_prefix") else path[1:2]
    # Each layer between the first and the last, as in VGG and a plain `Sequential`.
    return [name for name in names if _num_weights(model.get_submodule(name))][1:-1]


def _units(model: nn.Module) -> list[str]:
    """Names of the modules inside that a person would call blocks: the outermost that are no lists of others.

    A stage, an encoder or a backbone is a list; attention and what follows it in a block are not.
    """
    found: list[str] = []
    for name, child in model.named_children():
        if _ASIDE.search(name) or (_num_weights(child) < _FEWEST_WEIGHTS and not _is_list(child)):
            continue
        inner = _units(child)
        if not _is_list(child) and not _is_made_of(child, inner):
            found.append(name)
        else:
            found.extend(f"{name}.{unit}" for unit in inner)
    return found


def _is_list(module: nn.Module) -> bool:
    return isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict))


def _is_made_of(module: nn.Module, units: Sequence[str]) -> bool:
    """Whether the units in a module are mostly several of a class in a list, as a stage's blocks are."""
    alike: defaultdict[type, list[str]] = defaultdict(list)
    for unit in units:
        if _is_list(module.get_submodule(unit.rpartition(".")[0])):
            alike[type(module.get_submodule(unit))].append(unit)
    repeated = [unit for several in alike.values() if len(several) > 1 for unit in several]
    held, whole = (
        sum(p.numel() for unit in some for p in module.get_submodule(unit).parameters())
        for some in (repeated, units)
    )
    return bool(repeated) and held >= _MOSTLY * whole


def _num_weights(module: nn.Module) -> int:
    """Number of weight matrices and filters; those of norms, biases and embeddings are none."""
    return sum(
        p.ndim > 1
        for part in module.modules()
        if not isinstance(part, nn.Embedding)
        for p in part.parameters(recurse=False)
    )


def _inside(name: str, outer: str) -> bool:
    return name == outer or name.startswith(outer + ".") or outer == ""


def _example(model: nn.Module) -> dict[str, Tensor]:
    """Example inputs that a transformers model documents; empty for other models."""
    name = getattr(model, "main_input_name", None)
    if name == "input_ids":
        return {"input_ids": torch.ones((1, 8), dtype=torch.long)}
    if name == "pixel_values":
        config: Any = model.config
        size = getattr(config, "image_size", None) or 224
        height, width = size if isinstance(size, (tuple, list)) else (size, size)
        return {"pixel_values": torch.zeros(1, getattr(config, "num_channels", 3), height, width)}
    return {}


def _order_of_use(model: nn.Module, names: list[str]) -> list[str]:
    """Modules in order of execution, or of definition if the model cannot run on its example inputs."""
    example = _example(model)
    for device in dict.fromkeys([torch.device("cpu"), *(p.device for p in model.parameters())]):
        with suppress(*_CANNOT_RUN):
            return _execution_order(model, names, {name: v.to(device) for name, v in example.items()})
    return names


def _execution_order(model: nn.Module, names: Sequence[str], example: Mapping[str, Any]) -> list[str]:
    """Modules in the order in which a forward pass first calls them; uncalled ones go last.

    Those that are defined before all others stay there: what they hold is used under another name (T5). So
    do those without a tensor, such as a padding that one block of several needs.
    """
    reached: dict[str, None] = {}
    hooks = [
        model.get_submodule(name).register_forward_pre_hook(lambda *_, name=name: reached.setdefault(name))
        for name in names
    ]
    mode = model.training
    try:
        with torch.no_grad():
            model.eval()(**example)
    finally:
        model.train(mode)
        for hook in hooks:
            hook.remove()
    before = list(takewhile(lambda name: name not in reached, names))
    order = list(dict.fromkeys([*before, *reached]))
    for previous, name in pairwise(names):
        if name not in reached and name not in before and not any(True for _ in _tensors(model, name)):
            order.insert(order.index(previous) + 1 if previous in order else len(order), name)
    return list(dict.fromkeys([*order, *names]))


def _fill(names: Sequence[str], keys: Mapping[str, _Key | None]) -> dict[str, _Key]:
    """Give each module without a key one of the blocks around it."""
    blocks = [name for name in names if keys[name] not in (None, _STEM, _HEAD)]
    if not blocks:
        return {name: keys[name] or (_STEM if name != names[-1] else _HEAD) for name in names}
    filled: dict[str, _Key] = {}
    before: str | None = None
    after = iter([*blocks, None])
    following = next(after)
    for name in names:
        if name == following:
            before, following = name, next(after)
        filled[name] = keys[name] or _between(name, before, following, keys)
    return filled


def _between(name: str, before: str | None, after: str | None, keys: Mapping[str, _Key | None]) -> _Key:
    """Assign a layer between two blocks, such as down-sampling, to the block of the same stage."""
    if before is None or after is None:
        return _STEM if before is None else _HEAD
    closer = before if _shared(name, before) >= _shared(name, after) else after
    return keys[closer] or _HEAD


def _shared(a: str, b: str) -> int:
    pairs = zip(a.split("."), b.split("."), strict=False)
    return next((i for i, (x, y) in enumerate(pairs) if x != y), min(a.count("."), b.count(".")) + 1)


def _build(model: nn.Module, names: Sequence[str], keys: Mapping[str, _Key]) -> tuple[LayerGroup, ...]:
    parameters = _by_owner(name for name, _ in model.named_parameters())
    buffers = _by_owner(name for name, _ in model.named_buffers())
    own = _by_owner(name for name, _ in model.named_parameters(remove_duplicate=False))
    ordered = sorted({keys[name] for name in names if name in own} | {_STEM, _HEAD})
    # A key without weights (an activation that a pattern counted) joins the group below it.
    group_of = {key: max((k for k in ordered if k <= key), default=_STEM) for key in set(keys.values())}
    members: defaultdict[_Key, list[str]] = defaultdict(list)
    for name in names:
        members[group_of[keys[name]]].append(name)
    titles = {_STEM: "stem", _HEAD: "head"}
    titles |= {key: f"block.{i}" for i, key in enumerate(k for k in ordered if k not in titles)}
    return tuple(
        LayerGroup(
            titles[key],
            tuple(members[key]),
            tuple(chain.from_iterable(parameters.get(name, ()) for name in members[key])),
            tuple(chain.from_iterable(buffers.get(name, ()) for name in members[key])),
        )
        for key in ordered
    )


def _by_owner(names: Any) -> dict[str, list[str]]:
    tensors: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        tensors[name.rpartition(".")[0]].append(name)
    return dict(tensors)
