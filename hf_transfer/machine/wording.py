"""Numbers and lists in messages."""

import re
from collections.abc import Sequence
from typing import Any

from hf_transfer import _guard  # noqa: F401

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def count(number: int, noun: str) -> str:
    """Write a number with its noun: 1 row, 2 rows."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def duration(seconds: float) -> str:
    """Write a time as people say it: 40 s, 12 min, 3 h.

    Example:
        >>> duration(41.7), duration(700), duration(10_000)
        ('42 s', '12 min', '2.8 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def visible(text: str) -> str:
    r"""Write letters that would steer a terminal or hide others as their codes, all but line ends and tabs.

    The codes are those of JSON, so that a text in JSON stays one.

    Example:
        >>> print(visible(chr(27) + "[31mred"))
        \u001b[31mred
    """
    return _UNSEEN.sub(lambda letter: f"\\u{ord(letter[0]):04x}", text)


def some(rows: Sequence[Any], *, noun: str = "row", limit: int = 5) -> str:
    """Name the first few of many rows, e.g. "rows 4, 17, 90 and 12 more"."""
    first = ", ".join(str(row) for row in rows[:limit])
    more = f" and {len(rows) - limit} more" if len(rows) > limit else ""
    return f"{noun}{'' if len(rows) == 1 else 's'} {first}{more}"
