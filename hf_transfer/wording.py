"""Numbers and lists in messages."""

from collections.abc import Sequence
from typing import Any

from hf_transfer import _guard  # noqa: F401


def count(number: int, noun: str) -> str:
    """Write a number with its noun: 1 row, 2 rows."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def some(rows: Sequence[Any], *, noun: str = "row", limit: int = 5) -> str:
    """Name the first few of many rows, e.g. "rows 4, 17, 90 and 12 more"."""
    first = ", ".join(str(row) for row in rows[:limit])
    more = f" and {len(rows) - limit} more" if len(rows) > limit else ""
    return f"{noun}{'' if len(rows) == 1 else 's'} {first}{more}"
