"""Parse JSON and YAML into plain values; every error is a ValueError."""

import json
from typing import Any

import yaml

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)

MAX_YAML = 1_000_000  # characters; its parser needs a minute for so many
MAX_ALIASES = 100


def parse_json(text: str) -> Any:
    """Parse one JSON value.

    Raises:
        json.JSONDecodeError: If it is not JSON, with the place.
        ValueError: If it is nested too deep, a number has more digits than Python reads, or an object has one
            name twice, of which parsers take the last and people the first.
    """
    try:
        return json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except TwiceError:
        raise
    except ValueError as error:  # the length of a number
        raise ValueError(f"a number is too long ({str(error).partition(';')[0]})") from None


class TwiceError(ValueError):
    """An object has one name twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of its names and values."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise TwiceError(f"it has {twice[:60]!r} twice")
    return found


def parse_yaml(text: str) -> Any:
    """Parse YAML without Python objects, and without aliases that expand to billions of values.

    Raises:
        ValueError: With the reason, in one line.
    """
    if len(text) > MAX_YAML:
        raise ValueError(f"it has {len(text):,} characters, and at most {MAX_YAML:,} are read")
    try:
        return yaml.load(text, _PlainLoader)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the last two: impossible dates
        raise ValueError(" ".join(str(error).split())) from None


class _PlainLoader(yaml.SafeLoader):
    """A loader that refuses aliases inside a named value: ten such lines expand to a billion values."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.num_aliases = self.depth = 0

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        names = [key.value for key, _ in node.value if isinstance(key.value, str) and key.value != "<<"]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise yaml.YAMLError(f"it has {twice[:60]!r} twice")
        return super().construct_mapping(node, deep)

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        named = getattr(event, "anchor", None) is not None
        if isinstance(event, yaml.AliasEvent):
            self.num_aliases += 1
            if self.depth or self.num_aliases > MAX_ALIASES:
                raise yaml.YAMLError(f"the alias *{event.anchor} stands for too much: write the value out")
            named = False
        self.depth += named
        node = super().compose_node(parent, index)
        self.depth -= named
        return node
