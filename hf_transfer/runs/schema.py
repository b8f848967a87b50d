"""The shape of results.json: what it must hold, and where a file differs, in words."""

from collections.abc import Iterator
from typing import Any

from hf_transfer import _guard  # noqa: F401

# A type stands for its values, None for null, a tuple for any of several, [kind] for a list of them,
# [kind, kind] for so many, {str: kind} for an object of any names, and {"name": kind} for one with these.
_NUMBER = (float, None)
_TEXT = (str, None)
_SCORES = {str: _NUMBER}
_FOLD = {
    "repeat": int, "fold": int, "num_train": int, "num_valid": int, "seconds": _NUMBER,
    "num_epochs": (int, None),
    "scores": _SCORES, "train_scores": _SCORES, "train_rows_scored": int, "status": str,
}  # fmt: skip
_MEAN = {"mean": _NUMBER, "std": _NUMBER, "num_folds": int}
_SCORE = _MEAN | {"interval": ([float, float], None), "interval_kind": _TEXT, "unit": str}
_CLASS = {"label": str, "precision": _NUMBER, "recall": _NUMBER, "f1": _NUMBER, "support": int}
_LAYER = {
    "group": str, "modules": int, "parameters": int, "trainable": int, "status": str,
    "learning_rate": _NUMBER, "norm": _TEXT, "dropout": _TEXT,
}  # fmt: skip
RESULTS: dict[str, Any] = {
    "kit_version": str, "task": str, "base_model": str, "base_model_revision": _TEXT, "architecture": str,
    "library": str, "from_scratch": bool,
    "dataset": {
        "name": str, "config": _TEXT, "split": _TEXT, "fingerprint": str, "num_rows": int, "hub": bool,
        "column": str, "label_column": str, "class_counts": {str: int},
    },
    "config": {str: (str, float, bool, None, [(str, float)])},
    "label_names": [str], "folds_scheme": str, "folds_path": str, "folds_fingerprint": str,
    "num_folds": int, "num_repeats": int, "folds": [_FOLD], "scores": {str: _SCORE}, "primary_metric": str,
    "higher_is_better": {str: bool}, "per_class": [_CLASS], "confusion": ([[int]], None),
    "grid": ([{"best": bool, "scores": {str: _MEAN}, "folds": [_FOLD],
               "learning_rate": (str, float), "weight_decay": (str, float)}], None),
    "trainable": {"parameters": int, "total": int, "spec": str}, "layers": [_LAYER],
    "test": ({"num_rows": int, "scores": _SCORES}, None), "notes": [str],
    "hardware": {"device": str, "seconds": float}, "versions": {str: str}, "command": str,
    "final": {"kind": str, "path": _TEXT},
}  # fmt: skip

_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", None: "null"}


def misfits(value: Any, kind: Any = RESULTS, where: str = "") -> Iterator[str]:
    """Say where a value of JSON has not the shape of a kind, e.g. "folds[2].fold is 'x', not a whole number".

    Args:
        value: Anything that JSON can hold.
        kind: What it should be.
        where: Its name, for the words.
    """
    if isinstance(kind, tuple):
        found = [list(misfits(value, one, where)) for one in kind]
        if all(found):  # that of a list or an object says more, if the value is one
            inside = (some for some, one in zip(found, kind, strict=True) if _is_like(value, one))
            yield from next(inside, [f"{where} is {_shown(value)}, not {_in_words(kind)}"])
    elif not _is_like(value, kind):
        yield f"{where or 'it'} is {_shown(value)}, not {_in_words(kind)}"
    elif isinstance(kind, list):
        for i, one in enumerate(value):
            yield from misfits(one, kind[0], f"{where}[{i}]")
    elif isinstance(kind, dict):
        yield from _misfits_of_object(value, kind, where)


def _misfits_of_object(value: dict[str, Any], kind: dict[Any, Any], where: str) -> Iterator[str]:
    if str in kind:
        kind = dict.fromkeys(value, kind[str])
    lacking = [name for name in kind if name not in value]
    if lacking:
        yield f"{where or 'it'} lacks {', '.join(map(repr, lacking))}"
    for name in kind.keys() - lacking:
        yield from misfits(value[name], kind[name], f"{where}.{name}".lstrip("."))


def _is_like(value: Any, kind: Any) -> bool:
    if isinstance(kind, list):
        return isinstance(value, list) and len(kind) in (1, len(value))
    if isinstance(kind, dict):
        return isinstance(value, dict)
    if kind is None or value is None:
        return value is kind
    return type(value) is kind or (kind is float and type(value) is int)


def _shown(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _in_words(kind: Any) -> str:
    if isinstance(kind, tuple):
        return " or ".join(_in_words(one) for one in kind)
    if isinstance(kind, list):
        return "a list" if len(kind) == 1 else f"a list of {len(kind)}"
    return "an object" if isinstance(kind, dict) else _WORDS[kind]
