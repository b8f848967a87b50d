"""Records made from the few parts that a test is about."""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hf_transfer.config.run_config import RunConfig
from hf_transfer.runs.fold_result import Epoch
from hf_transfer.runs.records import Results
from hf_transfer.runs.schema import REST, from_json, to_json
from hf_transfer.runs.schema import _choices as choices_of

BLANKS = {int: 0, float: 0.0, str: "", bool: False}


def sketch(kind: Any, parts: Any) -> Any:
    """Read some parts of a record; what else it must have is empty."""
    return from_json(kind, _filled(kind, to_json(parts)))


def filled(kind: Any, parts: Any) -> Any:
    """Add what a record must have to some parts of it, as JSON."""
    return _filled(kind, to_json(parts))


def results_of(parts: Any) -> Results:
    """Results, of all their parts or a few."""
    return parts if isinstance(parts, Results) else sketch(Results, parts)


def changed(results: Results, **parts: Any) -> Results:
    """Results with other parts; of records and mappings, with other parts in them."""
    now = to_json(results)
    both = {n: now[n] | to_json(v) if isinstance(v, dict) and now[n] else v for n, v in parts.items()}
    return sketch(Results, now | both)


def epochs_of(histories: Mapping[str, Any]) -> dict[str, list[Epoch]]:
    """Epochs of each fold."""
    return {name: sketch(list[Epoch], epochs) for name, epochs in histories.items()}


def _filled(kind: Any, value: Any) -> Any:
    inner = get_args(kind)
    if isinstance(value, list) and get_origin(kind) is list:
        return [_filled(inner[0], one) for one in value]
    if isinstance(value, dict):
        for one in choices_of(kind):
            if get_origin(one) is not None and len(get_args(one)) == 2:
                return {name: _filled(get_args(one)[1], part) for name, part in value.items()}
            if is_dataclass(one) and one is not RunConfig:
                return _object(one, value)
    if isinstance(value, list):
        lists = [one for one in choices_of(kind) if get_origin(one) is list]
        return _filled(lists[0], value) if lists and lists[0] is not kind else value
    return value


def _object(kind: Any, value: dict[str, Any]) -> dict[str, Any]:
    hints, made = get_type_hints(kind), dict(value)
    for f in fields(kind):
        if f.name in value:
            made[f.name] = _filled(hints[f.name], value[f.name])
        elif f.default is MISSING and f.default_factory is MISSING and f.metadata != REST:
            made[f.name] = _blank(hints[f.name])
    return made


def _blank(kind: Any) -> Any:
    if NoneType in choices_of(kind):
        return None
    origin = get_origin(kind)
    if origin is Literal:
        return get_args(kind)[0]
    if origin is tuple:
        return [_blank(one) for one in get_args(kind)]
    if origin is not None:
        return [] if origin is list else {}
    if is_dataclass(kind):
        return {} if kind is RunConfig else _object(kind, {})
    return BLANKS.get(kind)
