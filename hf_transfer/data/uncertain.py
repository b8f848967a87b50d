"""Labels of 0, 1 and -1, where -1 says that nobody was sure: it counts as one of them, or not at all."""

from collections.abc import Sequence
from typing import Any

from datasets import Dataset, Value

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import DataError
from hf_transfer.machine.wording import count, some
from hf_transfer.tasks.targets.labels import as_number

_LEFT_OUT = "left out for an uncertain label"
_AS = {"zero": 0, "one": 1, "ignore": 0}


def settle_uncertain(
    part: Dataset, names: Sequence[str], config: RunConfig, *, asks: bool = True
) -> tuple[Dataset, tuple[str, ...]]:
    """Replace -1 in columns of labels as `config.uncertain` says; give what was changed, in a sentence.

    Rows to be ignored stay, marked for `without_uncertain`, so that the others keep their numbers.

    Args:
        part: The rows.
        names: Of the columns.
        config: Of which `uncertain` is used.
        asks: Whether to stop where it is not said and the labels are -1, 0 and 1.

    Raises:
        DataError: If that is so.
    """
    marked = {name: _uncertain(part[name][:]) for name in names if name in part.column_names}
    rows = sorted({row for found in marked.values() for row in found})
    if not rows:
        return part, ()
    if config.uncertain is None:
        if asks:
            raise DataError(_question(marked, single=len(names) == 1))
        return part, ()
    for name, found in marked.items():
        if found:
            part = _replaced(part, name, set(found), _AS[config.uncertain])
    if config.uncertain == "ignore":
        left_out = set(rows)
        part = part.add_column(
            _LEFT_OUT, [row in left_out for row in range(len(part))], feature=Value("bool")
        )
        return part, (f"{count(len(rows), 'row')} with an uncertain label (-1) left out: {some(rows)}.",)
    number = sum(map(len, marked.values()))
    return part, (f"{count(number, 'uncertain label')} (-1) taken for {_AS[config.uncertain]}.",)


def without_uncertain(rows: Dataset, part: Dataset) -> Dataset:
    """The standard rows of a part without those that are to be ignored."""
    if _LEFT_OUT not in part.column_names:
        return rows
    return rows.select([row for row, out in enumerate(part[_LEFT_OUT][:]) if not out])


def _uncertain(values: Sequence[Any]) -> list[int]:
    """Rows of -1, if the others are 0 and 1."""
    numbers = [as_number(value) for value in values]
    if not {-1.0, 0.0, 1.0} >= {number for number in numbers if number is not None}:
        return []
    rows = [row for row, number in enumerate(numbers) if number == -1]
    return rows if 0.0 in numbers else []


def _question(marked: dict[str, list[int]], *, single: bool) -> str:
    name, rows = next((name, rows) for name, rows in marked.items() if rows)
    classes = "; if -1 is a class of its own, pass --target classes" if single else ""
    return (
        f"{count(len(rows), 'row')} with -1 among 0 and 1 in column {name!r}: {some(rows)}. If it says that "
        "a label is uncertain, decide what it counts as: --uncertain ignore leaves such rows out, "
        f"--uncertain zero and --uncertain one take it for 0 or 1{classes}."
    )


def _replaced(part: Dataset, name: str, rows: set[int], value: int) -> Dataset:
    feature, place = part.features[name], part.column_names
    kept: Any = str(value) if getattr(feature, "dtype", "") in ("string", "large_string") else value
    values = [kept if row in rows else old for row, old in enumerate(part[name][:])]
    return part.remove_columns([name]).add_column(name, values, feature=feature).select_columns(place)
