"""A single check, and the comparison of written with recomputed values."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import TransferError
from hf_transfer.machine.wording import count
from hf_transfer.runs.reading import BROKEN
from hf_transfer.runs.schema import to_json
from hf_transfer.scores.scorer import Scorer, rows_at

OK, WRONG, NOT_CHECKED = "ok", "wrong", "not checked"
TOLERANCE = 1e-9  # other versions of numpy add up in another order
_NAMED = 3  # rows that one message names

_LONGEST = 120  # letters of a value in a message


@dataclass(frozen=True)
class Check:
    """A check and its outcome.

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
    """Run a check that yields differences; unreadable content counts as one.

    Args:
        name: What is looked at.
        holds: What can be said if there is none.
        differences: Finds them.
    """
    found: list[str] = []
    try:
        found.extend(differences())
    except TransferError as error:
        found.append(f"{name}: {error}")
    except BROKEN as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        found.append(f"{name}: cannot be recomputed from what is there: {reason} ({type(error).__name__})")
    return Check(name, WRONG, count(len(found), "difference"), tuple(found)) if found else passed(name, holds)


def passed(name: str, holds: str) -> Check:
    """A check that holds."""
    return Check(name, OK, holds)


def left_out(name: str, why: str) -> Check:
    """A check that could not be made, and why."""
    return Check(name, NOT_CHECKED, why)


def differences(
    written: Any, again: Any, where: str, words: str = "written {}, recomputed {}"
) -> Iterator[str]:
    """Compare two records or values of JSON, entry by entry; numbers are equal within 1e-9.

    Args:
        written: What stands in a file.
        again: What was recomputed.
        where: Name of the value, for the message; empty for the whole file.
        words: How to say the two, where they differ.

    Yields:
        A sentence for each entry that differs.
    """
    yield from _differences(to_json(written), to_json(again), where, words)


def _differences(written: Any, again: Any, where: str, words: str) -> Iterator[str]:
    if isinstance(written, dict) and isinstance(again, dict):
        for key in dict.fromkeys([*again, *written]):
            inside = f"{where}.{key}".lstrip(".")
            yield from _differences(written.get(key, NOTHING), again.get(key, NOTHING), inside, words)
    elif isinstance(written, list) and isinstance(again, list) and len(written) == len(again):
        for position, items in enumerate(zip(written, again, strict=True)):
            yield from _differences(*items, f"{where}[{position}]", words)
    elif not same_value(written, again):
        yield f"{where}: {words.format(*_around_difference(repr(written), repr(again)))}"


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


NOTHING = _Nothing()
"""Stands for a value that is not there, as None may be one."""


def _around_difference(written: str, again: str) -> tuple[str, str]:
    """Cut two long texts to where they differ."""
    if max(len(written), len(again)) <= _LONGEST:
        return written, again
    letters = enumerate(zip(written, again, strict=False))
    first = next((i for i, (one, other) in letters if one != other), min(len(written), len(again)))
    start = max(0, first - _LONGEST // 3)
    return _cut(written, start), _cut(again, start)


def _cut(text: str, start: int = 0) -> str:
    shown = text[start : start + _LONGEST]
    return f"{'…' * bool(start)}{shown}{'…' * (start + _LONGEST < len(text))}"


def same_value(written: Any, again: Any) -> bool:
    """Whether two plain values are the same; fractions within 1e-9, and no number the same as yes or no.

    A whole number is compared exactly, also with a fraction: others lie within 1e-9 of a large seed.
    """
    numbers = [isinstance(v, int | float) and not isinstance(v, bool) for v in (written, again)]
    if not all(numbers):
        return type(written) is type(again) and bool(written == again)
    if int in {type(written), type(again)}:
        return bool(written == again)
    return math.isclose(written, again, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


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
        if written[name].equals(again[name]):  # of one width too: nothing to make lists of
            continue
        one, other = written[name].to_pylist(), again[name].to_pylist()
        rows = [row for row, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1]]
        if rows:
            yield f"{file}, column {name!r}: {_rows_in_words(rows, again, one, other)}"


def _rows_in_words(rows: list[int], table: pa.Table, written: list[Any], again: list[Any]) -> str:
    ids = table["row_id"].take(pa.array(rows[:_NAMED])).to_pylist()
    named = [
        f"row {row} (row_id {uid}) written {_cut(repr(written[row]))}, recomputed {_cut(repr(again[row]))}"
        for row, uid in zip(rows[:_NAMED], ids, strict=True)
    ]
    more = f"; and {len(rows) - _NAMED} more rows" if len(rows) > _NAMED else ""
    return "; ".join(named) + more


def by_logits(name: str, rows: pa.Table, scorer: Scorer, file: str) -> Check:
    """Whether each prediction follows from the logits of its row, where those are stored."""
    if "logits" not in rows.column_names or (rows.num_rows and scorer.by_logits(rows[:1]) is None):
        return left_out(name, f"0 of {rows.num_rows:,} rows: no logits are stored that would make them")
    holds = f"each of {rows.num_rows:,} follows from the logits of its row"
    return judged(name, holds, lambda: not_by_logits(rows, scorer, file))


def not_by_logits(rows: pa.Table, scorer: Scorer, file: str) -> Iterator[str]:
    """Yield a sentence for the first predictions that do not follow from the logits of their row."""
    again = scorer.by_logits(rows) if "logits" in rows.column_names else None
    if again is None:
        return
    written = rows["prediction"].to_pylist()
    wrong = [row for row, pair in enumerate(zip(written, again, strict=True)) if pair[0] != pair[1]]
    for row in wrong[:_NAMED]:
        named = f"{file}, row {row} (row_id {rows['row_id'][row]})"
        yield f"{named}: prediction written {written[row]}, by its logits {again[row]}"


def rows_of(table: pa.Table, repeat: int, fold: int) -> pa.Table:
    """The predictions of one fold."""
    repeats, folds = (table[name].to_numpy() for name in ("repeat", "fold"))
    return rows_at(table, np.flatnonzero((repeats == repeat) & (folds == fold)))


def places(table: pa.Table) -> list[tuple[int, int]]:
    """The folds that a table of predictions holds, as (repeat, fold), in the order of their first row."""
    pairs = np.stack([table[name].to_numpy() for name in ("repeat", "fold")], axis=1)
    distinct, first = np.unique(pairs, axis=0, return_index=True)
    return [(int(repeat), int(fold)) for repeat, fold in distinct[np.argsort(first)]]
