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
        ValueError: If it is nested too deep, or a number has more digits than Python reads.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except ValueError as error:  # the length of a number
        raise ValueError(f"a number is too long ({str(error).partition(';')[0]})") from None


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
