"""Records as JSON and back: the shape that a file must have follows from the annotations of a dataclass."""

import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError
from hf_transfer.machine.files import plain

FORMAT_VERSION = 1
"""Of the files that a run leaves: raised when a reader of the one could misread the other."""

REST = {"rest": True}
"""Marks the field that holds whatever else stands in an object, by its name."""

T = TypeVar("T")

_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


class ShapeError(ConfigError):
    """A value of JSON that is not of the shape it should have."""


def from_json(kind: Any, value: Any, where: str = "") -> Any:
    """Read a value of JSON as what an annotation says, e.g. a dataclass; other keys are passed over.

    Args:
        kind: A dataclass, `int`, `float`, `str`, `bool`, `Any`, a `Literal`, a list, tuple or mapping of
            them, or a union of them that their JSON tells apart.
        value: Anything that JSON can hold.
        where: Its name, for the words of an error.

    Raises:
        ShapeError: Such as "folds[2].fold is 'x', not a whole number".
    """
    found = next((one for one in _choices(kind) if _looks_like(value, one)), MISSING)
    if found is MISSING:
        raise ShapeError(f"{where or 'it'} is {_shown(value)}, not {_in_words(kind)}")
    if hasattr(found, "from_record"):
        try:
            return found.from_record(value, where)
        except ConfigError as error:
            raise ShapeError(f"{where} holds no settings: {error}") from error
    if is_dataclass(found):
        return _record(found, value, where)
    origin, inner = get_origin(found), get_args(found)
    if isinstance(value, list) and origin is not None:
        of_each = inner if _num_items(found) else inner[:1] * len(value)
        made = [from_json(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(of_each, value, strict=True))]
        return tuple(made) if origin is tuple else made
    if isinstance(value, dict) and origin is not None:
        return {name: from_json(inner[1], one, f"{where}.{name}".lstrip(".")) for name, one in value.items()}
    return value


def to_json(value: Any) -> Any:
    """Give records, and what holds them, as plain values: no NaN, no tuples, no numpy."""
    if is_dataclass(value):
        parts = {f.name: getattr(value, f.name) for f in fields(value)}
        rest: Mapping[str, Any] = next((parts.pop(f.name) for f in fields(value) if f.metadata == REST), {})
        return to_json({**rest, **parts})
    if isinstance(value, Mapping):
        return {str(name): to_json(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(one) for one in value]
    return plain(value)


def _record(kind: Any, value: dict[str, Any], where: str) -> Any:
    types_of, given = _hints(kind), {}
    lacking = [f.name for f in fields(kind) if f.name not in value and _is_needed(f)]
    if lacking:
        raise ShapeError(f"{where or 'it'} lacks {', '.join(map(repr, lacking))}")
    for f in fields(kind):
        if f.metadata == REST:
            others = value.keys() - {other.name for other in fields(kind)}
            given[f.name] = {name: one for name, one in value.items() if name in others}
        elif f.name in value:
            given[f.name] = from_json(types_of[f.name], value[f.name], f"{where}.{f.name}".lstrip("."))
    return kind(**given)


def _is_needed(f: "Field[Any]") -> bool:
    return f.default is MISSING and f.default_factory is MISSING and f.metadata != REST


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


@cache
def _choices(kind: Any) -> Sequence[Any]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _looks_like(value: Any, kind: Any) -> bool:
    """Whether a value is of a kind, whatever stands inside it."""
    origin = get_origin(kind)
    if kind is Any:
        return True
    if origin is Literal:
        return value in get_args(kind)
    if is_dataclass(kind) or origin in (dict, Mapping):
        return isinstance(value, dict)
    if origin in (list, tuple, Sequence):
        return isinstance(value, list) and _num_items(kind) in (None, len(value))
    if kind is type(None):
        return value is None
    return type(value) is kind or (kind is float and type(value) is int)


@cache
def _num_items(kind: Any) -> int | None:
    """How many items a tuple must have; None where any number will do."""
    inner = get_args(kind)
    return len(inner) if get_origin(kind) is tuple and Ellipsis not in inner else None


def _shown(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _in_words(kind: Any) -> str:
    choices = _choices(kind)
    if len(choices) > 1:
        return " or ".join(map(_in_words, choices))
    origin = get_origin(kind)
    if origin is Literal:
        return " or ".join(map(repr, get_args(kind)))
    if origin in (list, tuple, Sequence):
        number = _num_items(kind)
        return f"a list of {number}" if number else "a list"
    return "null" if kind is type(None) else _WORDS.get(kind, "an object")
