"""One thing that was looked at, and how what is written differs from what was recomputed."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import TransferError
from hf_transfer.wording import count

OK, WRONG, NOT_CHECKED = "ok", "wrong", "not checked"
TOLERANCE = 1e-9  # other versions of numpy add up in another order
_NAMED = 3  # rows that one message names

_LONGEST = 120  # letters of a value in a message

# What broken content of a file makes the code that reads it raise; Arrow's own errors are among them.
_BROKEN = (TransferError, KeyError, IndexError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What.
        state: `ok`, `wrong` or `not checked`.
        found: In words: what holds, or why it could not be looked at.
        differences: Each difference in words, of what is wrong.
    """

    name: str
    state: str
    found: str
    differences: tuple[str, ...] = ()


def judged(name: str, holds: str, differences: Callable[[], Iterable[str]]) -> Check:
    """Look for differences; content that cannot be read is one too.

    Args:
        name: What is looked at.
        holds: What can be said if there is none.
        differences: Finds them.
    """
    found: list[str] = []
    try:
        found.extend(differences())
    except _BROKEN as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        kind = "" if isinstance(error, TransferError) else f" ({type(error).__name__})"
        found.append(f"{name}: cannot be recomputed from what is there: {what}{kind}")
    return Check(name, WRONG, count(len(found), "difference"), tuple(found)) if found else passed(name, holds)


def passed(name: str, holds: str) -> Check:
    """Say what holds."""
    return Check(name, OK, holds)


def left_out(name: str, why: str) -> Check:
    """Say why something could not be looked at."""
    return Check(name, NOT_CHECKED, why)


def differences(written: Any, again: Any, where: str) -> Iterator[str]:
    """Compare two values of JSON, entry by entry; numbers are equal within 1e-9.

    Args:
        written: What stands in a file.
        again: What was recomputed.
        where: Name of the value, for the words.

    Yields:
        A sentence for each entry that differs.
    """
    if isinstance(written, dict) and isinstance(again, dict):
        for key in dict.fromkeys([*again, *written]):
            if key in written and key in again:
                yield from differences(written[key], again[key], f"{where}.{key}")
            else:
                yield _differs(f"{where}.{key}", written.get(key, _NOTHING), again.get(key, _NOTHING))
    elif isinstance(written, list) and isinstance(again, list) and len(written) == len(again):
        for i, (one, other) in enumerate(zip(written, again, strict=True)):
            yield from differences(one, other, f"{where}[{i}]")
    elif not same_value(written, again):
        yield _differs(where, written, again)


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


_NOTHING = _Nothing()


def _differs(where: str, written: Any, again: Any) -> str:
    return f"{where}: written {_short(written)}, recomputed {_short(again)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def same_value(written: Any, again: Any) -> bool:
    """Whether two plain values are the same; numbers within 1e-9 and never the same as yes or no."""
    numbers = [isinstance(v, int | float) and not isinstance(v, bool) for v in (written, again)]
    if all(numbers):
        return math.isclose(written, again, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return type(written) is type(again) and bool(written == again)


def column_differences(written: pa.Table, again: pa.Table, file: str) -> Iterator[str]:
    """Compare two tables of the same rows, column by column; types may be of other widths.

    Args:
        written: What a file holds, with a column `row_id`.
        again: What was recomputed.
        file: Name of the file, for the words.

    Yields:
        A sentence for each column that differs, with its first rows.
    """
    if written.num_rows != again.num_rows:
        yield f"{file}: written {count(written.num_rows, 'row')}, recomputed {again.num_rows:,}"
        return
    for name in dict.fromkeys([*again.column_names, *written.column_names]):
        if name not in written.column_names or name not in again.column_names:
            there = "written" if name in written.column_names else "recomputed"
            yield f"{file}: column {name!r} is only {there}"
            continue
        one, other = written[name].to_pylist(), again[name].to_pylist()
        rows = [row for row, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1]]
        if rows:
            yield f"{file}, column {name!r}: {_rows_in_words(rows, again, one, other)}"


def _rows_in_words(rows: list[int], table: pa.Table, written: list[Any], again: list[Any]) -> str:
    ids = table["row_id"].take(pa.array(rows[:_NAMED])).to_pylist()
    named = [
        f"row {row} (row_id {uid}) written {_short(written[row])}, recomputed {_short(again[row])}"
        for row, uid in zip(rows[:_NAMED], ids, strict=True)
    ]
    more = f"; and {len(rows) - _NAMED} more rows" if len(rows) > _NAMED else ""
    return "; ".join(named) + more


def rows_of(table: pa.Table, repeat: int, fold: int) -> pa.Table:
    """The predictions of one fold."""
    here = pc.and_(pc.equal(table["repeat"], repeat), pc.equal(table["fold"], fold))
    return table.filter(here)


def places(table: pa.Table) -> list[tuple[int, int]]:
    """The folds that a table of predictions holds, as (repeat, fold), in the order of their first row."""
    pairs = np.stack([table[name].to_numpy() for name in ("repeat", "fold")], axis=1)
    return list(dict.fromkeys(map(tuple, pairs.tolist())))
