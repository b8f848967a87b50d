"""Find what the columns of a table hold: numbers or categories; and refuse what is neither, or would leak."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.columns import Columns, is_date, require
from hf_transfer.errors import DataError
from hf_transfer.machine.wording import some
from hf_transfer.tasks.inputs.table import (
    Table,
    TableColumn,
    as_number,
    category_name,
    is_missing,
    plain_values,
)

CATEGORY = ":category"  # behind a name: its numbers are names

_MOST = 1000  # categories: each is a feature
_MOSTLY = 0.9  # numbers among texts, by which the others look like mistakes
_NAMES_ROWS = 0.5  # categories a row, from which on a column says which row it is
_FEW_ENOUGH = 20  # categories that are no ids, however few the rows are
_LARGEST = 1e15  # number: single precision squares it
_LEAST_KEPT = 1e-3  # of a deviation, that a number may be off by in single precision


def find_table(rows: Dataset, columns: Columns, config: RunConfig) -> tuple[Table | None, tuple[str, ...]]:
    """Find the columns that `table_columns` names, and what to know of how they are read.

    Args:
        rows: All rows to train on, as they are stored.
        columns: What the other columns are used for.
        config: Of which `table_columns` and `label_columns` are used.

    Raises:
        DataError: If a column is absent, has another use, names rows, or holds something else.
    """
    found = [_found(rows, word, _uses(columns, config)) for word in config.table_columns]
    if not found:
        return None, ()
    table = Table(tuple(one.column for one in found))
    if len({column.name for column in table.columns}) < len(table.columns):
        raise DataError("--table_columns names a column twice. Leave one out.")
    listed = ", ".join(map(str, table.columns))
    notes = (f"Beside each input stand the columns {listed}.", *(one.note for one in found))
    return table, tuple(filter(None, notes))


def table_names(words: Sequence[str], there: Sequence[str]) -> list[str]:
    """The columns that `table_columns` names, without what says how they are read."""
    return [word if word in there else word.removesuffix(CATEGORY) for word in words]


@dataclass(frozen=True)
class _Found:
    """A column, and what to know of it."""

    column: TableColumn
    note: str = ""


def _uses(columns: Columns, config: RunConfig) -> dict[str, str]:
    """What columns are used for already, by name."""
    named = {
        "groups": columns.group, "ids": columns.id, "times": columns.time, "folds": columns.fold,
        "sites": columns.site, "labels": columns.label,
    }  # fmt: skip
    used = {name: use for use, name in named.items() if name is not None}
    return used | dict.fromkeys(columns.inputs, "inputs") | dict.fromkeys(config.label_columns, "labels")


def _found(rows: Dataset, word: str, uses: dict[str, str]) -> _Found:
    (name,) = table_names([word], rows.column_names)
    require(rows, name, "table_columns")
    if use := uses.get(name):
        raise DataError(
            f"Column {name!r} of the table is that of the {use}: beside the inputs it would tell what is to "
            "be found out, or which rows belong together. Leave it out of --table_columns, or "
            f"name another column for the {use}."
        )
    values = [value for value in plain_values(rows, name) if not is_missing(value)]
    if not values:
        raise DataError(f"Column {name!r} of the table has no value in any row. Leave it out.")
    _refuse_others(name, values)
    if name == word and (numbers := _numbers(name, values)) is not None:
        return _as_numbers(name, numbers, is_text=isinstance(values[0], str))
    return _as_categories(name, [category_name(value) for value in values], len(rows))


def _refuse_others(name: str, values: list[Any]) -> None:
    """Stop at lists, objects, dates and times."""
    if isinstance(values[0], list | dict | bytes):
        raise DataError(
            f"Column {name!r} of the table holds values such as {str(values[0])[:40]}. Give columns of one "
            "number or one category a row."
        )
    if isinstance(values[0], datetime.date | datetime.time | datetime.timedelta) or all(
        isinstance(value, str) and as_number(value) is None and is_date(value) for value in values
    ):
        raise DataError(
            f"Column {name!r} of the table holds dates or times, such as {values[0]}. What of them matters "
            "is for you to say: write a column of numbers (days since a start), or of categories (the month)."
        )


def _numbers(name: str, values: list[Any]) -> np.ndarray[Any, Any] | None:
    """The values as numbers; None where they are categories.

    Raises:
        DataError: If nearly all are numbers.
    """
    read = [as_number(value) for value in values]
    others = [value for value, number in zip(values, read, strict=True) if number is None]
    if not others:
        return np.asarray(read, np.float64)
    if len(others) <= (1 - _MOSTLY) * len(values):
        told = some([repr(str(value)[:40]) for value in dict.fromkeys(others)], noun="value", limit=3)
        raise DataError(
            f"Column {name!r} of the table holds numbers, but for the {told}. Leave a missing number empty, "
            f"or write --table_columns {name}{CATEGORY} where they are names."
        )
    return None


def _as_numbers(name: str, numbers: "np.ndarray[Any, Any]", *, is_text: bool) -> _Found:
    if np.abs(numbers).max() > _LARGEST:
        raise DataError(f"Column {name!r} of the table has numbers beyond {_LARGEST:g}. Take a larger unit.")
    spread = float(numbers.std())
    off = np.abs(numbers - numbers.astype(np.float32)).max()
    if off > _LEAST_KEPT * spread > 0:
        raise DataError(
            f"The numbers of column {name!r} of the table, {numbers.min():.10g} to {numbers.max():.10g}, "
            "differ by less than single precision tells apart. Subtract a start from them."
        )
    if not spread:
        return _Found(TableColumn(name), f"Column {name!r} of the table has one value and so no effect.")
    note = (
        f"The texts of column {name!r} are read as numbers; {name}{CATEGORY} would take them as categories."
    )
    return _Found(TableColumn(name), note if is_text else "")


def _as_categories(name: str, names: list[str], num_rows: int) -> _Found:
    categories = tuple(sorted(set(names)))
    if len(categories) > max(_FEW_ENOUGH, _NAMES_ROWS * num_rows) or len(categories) == num_rows > 2:
        raise DataError(
            f"Column {name!r} of the table has {len(categories):,} categories in {num_rows:,} rows, such as "
            f"{categories[0][:40]!r}: it says which row it is, and nothing about others. Leave it out; texts "
            "to read belong into the text."
        )
    if len(categories) > _MOST:
        raise DataError(
            f"Column {name!r} of the table has {len(categories):,} categories, and {_MOST:,} are allowed, as "
            "each is a feature. Join rare ones."
        )
    note = f"Column {name!r} of the table has one value and so no effect." * (len(categories) == 1)
    return _Found(TableColumn(name, categories), note)
