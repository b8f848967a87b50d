"""The partition of a model by depth: `stem`, `block.0` … `block.n-1`, `head`."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, takewhile
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

_Key = tuple[float, ...]
_STEM: _Key = (-1.0,)
_HEAD: _Key = (float("inf"),)


@dataclass(frozen=True)
class LayerGroup:
    """Layers of one depth, by their names in the model."""

    name: str
    modules: tuple[str, ...]
    parameters: tuple[str, ...]
    buffers: tuple[str, ...]


def layer_groups(model: nn.Module, example: Mapping[str, Any] | None = None) -> tuple[LayerGroup, ...]:
    """Divide a model into ordered groups from input to output, each tensor in exactly one.

    timm models say themselves how they divide (`group_matcher`); the families of transformers are
    known by the place of their blocks; any other model is divided at the module class that repeats
    and holds most of the parameters. What follows the last block (pooler, final norm) is `head`.

    Args:
        model: From transformers, timm, or anywhere.
        example: One batch of keyword arguments. A model that nobody listed is run on it once, and
            its layers are taken in order of execution; without one (transformers' models need
            none) in order of definition.
    """
    places = _places(model)
    keys = _block_keys(model, places)
    if not any(key not in (_STEM, _HEAD, None) for key in keys.values()):
        places = _execution_order(model, places, example) if example else _order_of_use(model, places)
        keys = _repeated_blocks(model, places)
    above = _above_blocks(model, places)
    places = [*(place for place in places if place not in above), *above]
    return _build(model, places, _fill(places, keys | dict.fromkeys(above, _HEAD)))


def _above_blocks(model: nn.Module, places: Sequence[str]) -> dict[str, None]:
    """What a classifier of transformers holds beside its base model is its head, wherever it is defined."""
    base = getattr(model, "base_model_prefix", "")
    if not isinstance(getattr(model, base, None), nn.Module):
        return {}
    after = [place for place in places if _AFTER_BLOCKS.match(place)]
    return dict.fromkeys([*after, *(place for place in places if not _inside(place, base))])


def _places(model: nn.Module) -> list[str]:
    """Names, in order of definition, of modules that own a tensor or have no children."""
    return [
        name
        for name, module in model.named_modules()
        if any(True for _ in chain(module.parameters(recurse=False), module.buffers(recurse=False)))
        or not any(True for _ in module.children())
    ]


def _block_keys(model: nn.Module, places: Sequence[str]) -> dict[str, _Key | None]:
    """Each place's key where a rule names one: sorting the keys sorts the groups."""
    inner = getattr(model, "timm_model", model)
    group_matcher = getattr(inner, "group_matcher", None)
    if callable(group_matcher):
        prefix = "timm_model." if inner is not model else ""
        matcher = group_matcher(coarse=False)
        return {place: _timm_key(place.removeprefix(prefix), matcher) for place in places}
    pattern = next((p for p in _BLOCKS if sum(bool(re.match(p, place)) for place in places) > 1), None)
    if pattern is None:
        return dict.fromkeys(places)
    return {place: _transformers_key(place, re.compile(pattern)) for place in places}


def _transformers_key(place: str, pattern: re.Pattern[str]) -> _Key | None:
    if _BEFORE_BLOCKS.match(place):
        return _STEM
    match = pattern.match(place)
    return tuple(float(part) for part in match.groups()) if match else None


def _timm_key(place: str, matcher: Mapping[str, Any]) -> _Key | None:
    """Read timm's table: its first entry is the stem, later ones hold blocks; 99999 means what follows."""
    for ordinal, rules in enumerate(matcher.values()):
        for pattern, suffix in [(rules, None)] if isinstance(rules, str) else rules or ():
            match = re.match(pattern, place)
            if match is None:
                continue
            numbers = tuple(float(part) for part in match.groups() if part is not None)
            if suffix and suffix[0] == 99999:
                return _HEAD if not numbers else None
            return _STEM if ordinal == 0 and not numbers else (ordinal, *numbers, *(suffix or ()))
    return None


def _repeated_blocks(model: nn.Module, places: Sequence[str]) -> dict[str, _Key | None]:
    """Blocks of a model nobody listed: instances of the repeated class that holds most parameters."""
    sizes = {name: sum(p.numel() for p in module.parameters()) for name, module in model.named_modules()}
    held: Counter[type] = Counter()
    names: defaultdict[type, list[str]] = defaultdict(list)
    for name, module in model.named_modules():
        if sizes[name] and not type(module).__module__.startswith("torch.nn"):
            held[type(module)] += sizes[name]
            names[type(module)].append(name)
    repeated = [kind for kind in names if len(names[kind]) > 1 and not _nested(names[kind])]
    if repeated:
        most = max(held[kind] for kind in repeated)
        kind = max((k for k in repeated if held[k] >= 0.8 * most), key=lambda k: len(names[k]))
        blocks = names[kind]
    else:
        blocks = [name for name, _ in model.named_children() if sizes[name]][1:-1]
    order = {place: number for number, place in enumerate(places)}
    first = {b: min((order[p] for p in places if _inside(p, b)), default=len(places)) for b in blocks}
    ranks = {block: float(rank) for rank, block in enumerate(sorted(blocks, key=first.__getitem__))}
    return {p: next(((ranks[b],) for b in blocks if _inside(p, b)), None) for p in places}


def _nested(names: Sequence[str]) -> bool:
    return any(a != b and _inside(a, b) for a in names for b in names)


def _inside(name: str, outer: str) -> bool:
    return name == outer or name.startswith(outer + ".") or outer == ""


def _example(model: nn.Module) -> dict[str, Tensor]:
    """A batch that a transformers model says it takes; nothing for other models."""
    name = getattr(model, "main_input_name", None)
    if name == "input_ids":
        return {"input_ids": torch.ones((1, 8), dtype=torch.long)}
    if name == "pixel_values":
        config: Any = model.config
        size = getattr(config, "image_size", None) or 224
        height, width = size if isinstance(size, (tuple, list)) else (size, size)
        return {"pixel_values": torch.zeros(1, getattr(config, "num_channels", 3), height, width)}
    return {}


def _order_of_use(model: nn.Module, places: list[str]) -> list[str]:
    """Places in order of execution, or of definition where a model cannot run on what it says it takes."""
    example = _example(model)
    for device in dict.fromkeys([torch.device("cpu"), *(p.device for p in model.parameters())]):
        with suppress(*_CANNOT_RUN):
            return _execution_order(model, places, {name: v.to(device) for name, v in example.items()})
    return places


def _execution_order(model: nn.Module, places: Sequence[str], example: Mapping[str, Any]) -> list[str]:
    """Places in the order in which one forward pass first reaches them; unreached ones go last.

    Those that are defined before all others stay there: what they hold is used under another name (T5).
    """
    reached: dict[str, None] = {}
    hooks = [
        model.get_submodule(name).register_forward_pre_hook(lambda *_, name=name: reached.setdefault(name))
        for name in places
    ]
    mode = model.training
    try:
        with torch.no_grad():
            model.eval()(**example)
    finally:
        model.train(mode)
        for hook in hooks:
            hook.remove()
    before = list(takewhile(lambda place: place not in reached, places))
    return list(dict.fromkeys([*before, *reached, *places]))


def _fill(places: Sequence[str], keys: Mapping[str, _Key | None]) -> dict[str, _Key]:
    """Give a key to every place without one, from the blocks defined around it."""
    blocks = [place for place in places if keys[place] not in (None, _STEM, _HEAD)]
    if not blocks:
        return {place: keys[place] or (_STEM if place != places[-1] else _HEAD) for place in places}
    filled: dict[str, _Key] = {}
    before: str | None = None
    after = iter([*blocks, None])
    following = next(after)
    for place in places:
        if place == following:
            before, following = place, next(after)
        filled[place] = keys[place] or _between(place, before, following, keys)
    return filled


def _between(place: str, before: str | None, after: str | None, keys: Mapping[str, _Key | None]) -> _Key:
    """A layer between two blocks (a down-sampling, say) belongs to the one it shares a stage with."""
    if before is None or after is None:
        return _STEM if before is None else _HEAD
    closer = before if _shared(place, before) >= _shared(place, after) else after
    return keys[closer] or _HEAD


def _shared(a: str, b: str) -> int:
    pairs = zip(a.split("."), b.split("."), strict=False)
    return next((i for i, (x, y) in enumerate(pairs) if x != y), min(a.count("."), b.count(".")) + 1)


def _build(model: nn.Module, places: Sequence[str], keys: Mapping[str, _Key]) -> tuple[LayerGroup, ...]:
    parameters = _by_owner(name for name, _ in model.named_parameters())
    buffers = _by_owner(name for name, _ in model.named_buffers())
    own = _by_owner(name for name, _ in model.named_parameters(remove_duplicate=False))
    ordered = sorted({keys[place] for place in places if place in own} | {_STEM, _HEAD})
    # A key without weights (an activation that a pattern counted) joins the group below it.
    group_of = {key: max((k for k in ordered if k <= key), default=_STEM) for key in set(keys.values())}
    members: defaultdict[_Key, list[str]] = defaultdict(list)
    for place in places:
        members[group_of[keys[place]]].append(place)
    names = {_STEM: "stem", _HEAD: "head"}
    names |= {key: f"block.{i}" for i, key in enumerate(k for k in ordered if k not in names)}
    return tuple(
        LayerGroup(
            names[key],
            tuple(members[key]),
            tuple(chain.from_iterable(parameters.get(place, ()) for place in members[key])),
            tuple(chain.from_iterable(buffers.get(place, ()) for place in members[key])),
        )
        for key in ordered
    )


def _by_owner(names: Any) -> dict[str, list[str]]:
    tensors: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        tensors[name.rpartition(".")[0]].append(name)
    return dict(tensors)
