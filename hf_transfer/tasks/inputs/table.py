"""Columns of numbers and categories beside an input, and the numbers that they add to a model's features."""

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError, ModelError
from hf_transfer.machine.wording import some
from hf_transfer.tasks.targets.labels import WRITTEN_MISSING

if TYPE_CHECKING:
    from datasets import Dataset

TABLE_FILE = "table.json"

Values = Mapping[str, Any]
"""What a row has in each column, by name; None, or no entry, where it is missing."""


@dataclass(frozen=True)
class TableColumn:
    """One column.

    Attributes:
        name: Its name in the data.
        categories: What it may hold, in a fixed order; None of a column of numbers.
    """

    name: str
    categories: tuple[str, ...] | None = None

    @property
    def width(self) -> int:
        """How many numbers a value becomes."""
        return 2 if self.categories is None else len(self.categories) + 1

    def read(self, value: Any) -> float | str | None:
        """A value as it was stored or written: a number, the name of a category, or None if it is missing.

        Raises:
            DataError: If it should be a number and is none.
        """
        if is_missing(value):
            return None
        if self.categories is not None:
            return category_name(value)
        number = as_number(value)
        if number is None:
            raise DataError(
                f"{str(value)[:60]!r} in column {self.name!r} is no finite number, as other rows have there. "
                "Write one, or leave it empty where it is missing."
            )
        return number

    def numbers(self, value: float | str | None) -> list[float]:
        """A number and whether it is missing; or a 1 at the category's place, the last if it is missing."""
        if self.categories is None:
            return [0.0, 1.0] if value is None else [float(value), 0.0]
        places = [0.0] * self.width
        if value is None:
            places[-1] = 1.0
        elif value in self._place_of:
            places[self._place_of[str(value)]] = 1.0
        return places

    def is_unseen(self, value: float | str | None) -> bool:
        """Whether it is a category that the column did not have when the table was read."""
        return value is not None and self.categories is not None and value not in self._place_of

    @cached_property
    def _place_of(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.categories or ())}

    def __str__(self) -> str:
        what = "numbers" if self.categories is None else f"{len(self.categories)} categories"
        return f"{self.name!r} ({what})"


@dataclass(frozen=True)
class Table:
    """The columns of a data set that stand beside each input, fixed once for all folds.

    The names of categories are those of all rows, which says nothing of any label. Means and deviations are
    no part of it: they are those of the rows that a model learns from.
    """

    columns: tuple[TableColumn, ...]

    @cached_property
    def width(self) -> int:
        """How many numbers stand beside the features of a row."""
        return sum(column.width for column in self.columns)

    @cached_property
    def lacking(self) -> tuple[int, ...]:
        """For each that is a number, the place of the one that says it is missing; of others their own."""
        places: list[int] = []
        for column in self.columns:
            start = len(places)
            own = range(start, start + column.width)
            places += own if column.categories is not None else [start + 1, start + 1]
        return tuple(places)

    def checked(self, values: Values | None) -> dict[str, float | str | None]:
        """The values of one row, each read; all are missing where there are none.

        Raises:
            DataError: If a name is that of no column, or a value is no number where it should be.
        """
        given = values or {}
        names = [column.name for column in self.columns]
        if other := [name for name in given if name not in names]:
            raise DataError(
                f"The table has no column {other[0]!r}; it has {some(names, noun='column')}."
                f"{_did_you_mean(other[0], names)}"
            )
        return {column.name: column.read(given.get(column.name)) for column in self.columns}

    def encode(self, rows: Sequence[Values | None]) -> dict[str, list[Any]]:
        """The numbers of each row, (w,), and how many of its categories are unseen."""
        read = [self.checked(row) for row in rows]
        return {
            "table": [
                [one for column in self.columns for one in column.numbers(row[column.name])] for row in read
            ],
            "unseen": [sum(column.is_unseen(row[column.name]) for column in self.columns) for row in read],
        }

    def read(self, rows: "Dataset") -> "Dataset":
        """The columns of some rows as one column `input`, row for row.

        Raises:
            DataError: If a column is absent, or holds something else than numbers where it should.
        """
        from datasets import Dataset, Features, Value

        names = [column.name for column in self.columns]
        if absent := [name for name in names if name not in rows.column_names]:
            raise DataError(
                f"No column {absent[0]!r} of the table; the rows have "
                f"{some(sorted(rows.column_names), noun='column', limit=20)}."
                f"{_did_you_mean(absent[0], rows.column_names)} Leave values empty where they are not known."
            )
        read = [map(column.read, plain_values(rows, column.name)) for column in self.columns]
        kinds = {
            column.name: Value("float32" if column.categories is None else "string")
            for column in self.columns
        }
        values = [dict(zip(names, row, strict=True)) for row in zip(*read, strict=True)]
        return Dataset.from_dict({"input": values}, Features({"input": kinds}))

    def missing(self, rows: Sequence[Values]) -> dict[str, int]:
        """How many rows lack a value, by column; only columns of which some do."""
        counts = {column.name: sum(row[column.name] is None for row in rows) for column in self.columns}
        return {name: number for name, number in counts.items() if number}

    def content(self, values: Values) -> list[str]:
        """The values of a row that was read, a text each, by which rows are told apart."""
        return [f"{column.name}={values[column.name]!r}" for column in self.columns]

    def words(self, values: Values | None) -> list[str]:
        """The values of a row as they are shown, a text each."""
        given = values or {}
        return [f"{column.name} {_shown(given.get(column.name))}" for column in self.columns]

    def save(self, folder: Path) -> None:
        """Write the columns' names, kinds and categories."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False)
        (folder / TABLE_FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> "Table":
        """Read what `save` wrote.

        Raises:
            ModelError: If it is not there, or damaged.
        """
        try:
            columns = json.loads((folder / TABLE_FILE).read_text(encoding="utf-8"))["columns"]
            return cls(
                tuple(
                    TableColumn(str(one["name"]), one["categories"] and tuple(map(str, one["categories"])))
                    for one in columns
                )
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"{folder / TABLE_FILE} does not say which columns the model reads ({error}). Train the run "
                "again, or fetch it anew."
            ) from error


def plain_values(rows: "Dataset", name: str) -> list[Any]:
    """All values of a column; those of a class label by their names."""
    from datasets import ClassLabel

    feature, values = rows.features[name], rows[name][:]
    if isinstance(feature, ClassLabel):
        return [None if value is None or value < 0 else feature.names[value] for value in values]
    return list(values)


def is_missing(value: Any) -> bool:
    """Whether a value stands for none."""
    if isinstance(value, str):
        return not value.strip() or value.strip() in WRITTEN_MISSING
    return value is None or (isinstance(value, float) and math.isnan(value))


def as_number(value: Any) -> float | None:
    """A value as a finite number; None if it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def category_name(value: Any) -> str:
    """A value as the name of a category: 3 and 3.0 are one, as a missing value makes whole numbers floats."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def _did_you_mean(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _shown(value: Any) -> str:
    return "missing" if is_missing(value) else f"{value:.6g}" if isinstance(value, float) else str(value)
