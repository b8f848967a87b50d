"""Write numbers, times, sizes, lists and tables for people."""

import math
import re
from collections.abc import Sequence
from html import escape
from typing import Any, Protocol

from hf_transfer import _guard  # noqa: F401

UNDEFINED = "n/a"

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_NUMBER = re.compile(r"-?[\d.]|(n/a|-)?$")


def count(number: int, noun: str) -> str:
    """Write a number with its noun: 1 row, 2 rows."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def columns_words(names: Sequence[str]) -> str:
    """Columns by their names: "column 'text'", or "columns 'question' and 'context'"."""
    quoted = [repr(name) for name in names]
    several = f"columns {', '.join(quoted[:-1])} and {quoted[-1]}"
    return several if len(quoted) > 1 else f"column {quoted[0]}"


def visible(text: str) -> str:
    r"""Escape characters that steer a terminal or hide others, except line ends and tabs.

    The codes are those of JSON, so that a text in JSON stays one.

    Example:
        >>> print(visible(chr(27) + "[31mred"))
        \u001b[31mred
    """
    return _UNSEEN.sub(lambda letter: f"\\u{ord(letter[0]):04x}", text)


def inline(text: str) -> str:
    """A name of somebody's data as it can stand in a sentence or a cell: with line ends escaped too."""
    return visible(text).replace("\n", "\\n")


def some(rows: Sequence[Any], *, noun: str = "row", limit: int = 5) -> str:
    """Name the first few of many rows, e.g. "rows 4, 17, 90 and 12 more"."""
    first = ", ".join(inline(str(row)) for row in rows[:limit])
    more = f" and {len(rows) - limit} more" if len(rows) > limit else ""
    return f"{noun}{'' if len(rows) == 1 else 's'} {first}{more}"


def number(value: float | None, digits: int = 3) -> str:
    """Write a score with so many decimals; n/a when it is undefined."""
    if value is None or not math.isfinite(value):
        return UNDEFINED
    return f"{value:z.{digits}f}"  # z: never -0.000


class Spread(Protocol):
    """A mean over folds with its standard deviation."""

    @property
    def mean(self) -> float | None: ...  # noqa: D102
    @property
    def std(self) -> float | None: ...  # noqa: D102


def plus_minus(score: Spread | None) -> str:
    """Write `0.913 ± 0.012`, the mean and standard deviation over folds."""
    if score is None or score.mean is None:
        return UNDEFINED
    spread = "" if score.std is None else f" ± {number(score.std)}"
    return number(score.mean) + spread


def interval(ends: tuple[float, float] | None) -> str:
    """Write an interval: `0.897 to 0.928`; n/a where there is none."""
    return f"{number(ends[0])} to {number(ends[1])}" if ends else UNDEFINED


def probability(p: float | None) -> str:
    """Write a p-value with two digits; very small ones as `below 0.001`."""
    if p is None or not math.isfinite(p):
        return UNDEFINED
    return "below 0.001" if p < 0.001 else f"{p:.2g}"


def duration(seconds: float | None) -> str:
    """Write a time as `3.2 s`, `4 min 10 s` or `2 h 5 min`."""
    if seconds is None or not math.isfinite(seconds):
        return UNDEFINED
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def setting(value: Any) -> str:
    """Write a setting's value: `2e-05`, `yes`, `not set`."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Pad cells into columns: numbers to the right, text to the left.

    Args:
        rows: Cells, as many in each row; the first row may be a header.
    """
    columns = []
    for cells in zip(*[map(inline, row) for row in rows], strict=True):
        width = max(map(len, cells))
        numbers = all(_NUMBER.match(cell) for cell in cells[1:] or cells)
        columns.append([cell.rjust(width) if numbers else cell.ljust(width) for cell in cells])
    return "\n".join("  ".join(cells).rstrip() for cells in zip(*columns, strict=True))


def table_html(rows: Sequence[Sequence[str]]) -> str:
    """Write cells as an HTML table, for a notebook; the first row is the header."""
    head, *body = [[escape(visible(cell)) for cell in row] for row in rows]
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in body]
    first = "".join(f"<th>{cell}</th>" for cell in head)
    return f"<table><tr>{first}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def paragraphs_html(texts: Sequence[str]) -> str:
    """Write sentences as HTML paragraphs, for a notebook."""
    return "".join(f"<p>{escape(visible(text))}</p>" for text in texts)


def size_words(num_bytes: float) -> str:
    """Write a number of bytes: `3 MB`."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= size:
            return f"{num_bytes / size:.1f} {unit}"
    return f"{num_bytes:.0f} bytes"


def fold_key(repeat: int, fold: int) -> str:
    """Name a fold in files and records, counted from 0: `r0f3`."""
    return f"r{repeat}f{fold}"


def fold_name(repeat: int, fold: int, num_repeats: int) -> str:
    """Name a fold for people, counted from 1, with its repeat if there are several.

    Example:
        >>> fold_name(0, 3, 1), fold_name(0, 3, 2)
        ('fold 4', 'repeat 1, fold 4')
    """
    return f"repeat {repeat + 1}, fold {fold + 1}" if num_repeats > 1 else f"fold {fold + 1}"
