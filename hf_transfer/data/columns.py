"""Find the columns of a dataset by what the user named, or by the names that people usually give."""

import datetime
import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, List

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import DataError
from hf_transfer.machine.wording import some
from hf_transfer.tasks.targets.labels import WRITTEN_MISSING, refuse_rows
from hf_transfer.tasks.task import Task

_LOOKED_AT = 100  # rows by which a name is known as a value
_WORDS_OF_A_SENTENCE = 4
_SETS = "labels of several columns"
_MARKS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}  # as a CSV file has them


@dataclass(frozen=True)
class Columns:
    """The names of the columns that are used, and what was taken where several would do."""

    input: str
    label: str
    id: str | None
    group: str | None
    time: str | None
    fold: str | None
    notes: tuple[str, ...] = ()


def find_columns(dataset: Dataset, config: RunConfig, task: type[Task]) -> Columns:
    """Find the columns that the settings name; input and label also by their usual names.

    Raises:
        DataError: If a column is absent, naming those that are there.
    """
    others = {name: getattr(config, name) for name in ("id_column", "group_by", "time_by", "fold_column")}
    for setting, name in others.items():
        if name is not None:
            _require(dataset, name, setting)
    taken = {
        name for name in (config.input_column, config.label_column, *others.values()) if name is not None
    }
    usual_inputs, usual_labels = task.usual_columns(dataset.features)
    parts, typed = task.input.columns_of, task.input.is_typed
    search = _Search(dataset, "input_column", usual_inputs, typed, type_decides=True, parts=parts)
    inputs, input_notes = search.find(config.input_column, taken)
    of_inputs = task.input.columns_of(inputs)
    search = _Search(dataset, "label_column", usual_labels, _is_declared)
    label, label_notes = search.find(config.label_column, {*taken, *of_inputs})
    return Columns(
        input=inputs,
        label=label,
        id=config.id_column,
        group=config.group_by,
        time=config.time_by,
        fold=config.fold_column,
        notes=(*task.input.notes(inputs), *input_notes, *label_notes),
    )


def row_ids(dataset: Dataset, column: str | None) -> Sequence[int | str]:
    """Id of every row: its number, or the column's whole numbers or texts.

    Raises:
        DataError: If an id is missing or not unique.
    """
    if column is None:
        return range(len(dataset))
    values = dataset[column][:]
    refuse_rows(_missing(values), f"without an id in column {column!r}", "Give every row an id.")
    ids = [value if isinstance(value, int) else str(value) for value in values]
    first: dict[Any, int] = {}
    repeated = [row for row, value in enumerate(ids) if first.setdefault(value, row) != row]
    if repeated:
        value = ids[repeated[0]]
        raise DataError(
            f"The id {value!r} in column {column!r} is that of row {first[value]} and of row {repeated[0]}; "
            f"{len(repeated)} rows repeat an earlier id. Ids must be unique; give another --id_column or "
            "none."
        )
    return ids


def groups(dataset: Dataset, column: str) -> list[str]:
    """Give every row's group as text.

    Raises:
        DataError: If a row has none: it could share a group with any other row.
    """
    values = dataset[column][:]
    refuse_rows(_missing(values), f"without a group in column {column!r}", "Name a group for every row.")
    return [str(value) for value in values]


def times(dataset: Dataset, column: str) -> "np.ndarray[Any, Any]":
    """Give every row's time as numbers or dates, so that 9 comes before 10.

    Raises:
        DataError: If a time is missing, or neither a number nor an ISO date.
    """
    values = dataset[column][:]
    if values and all(isinstance(value, str) for value in values):
        values = _parse_times(values, column)
    refuse_rows(_missing(values), f"without a time in column {column!r}", "Date every row.")
    if isinstance(values[0], (datetime.date, datetime.datetime)):
        return np.array([_utc(value) for value in values], dtype="datetime64[us]")
    return np.asarray(values)


def folds(dataset: Dataset, column: str) -> list[int] | list[str]:
    """Give every row's fold: whole numbers, or texts when some are not.

    Raises:
        DataError: If a row has none.
    """
    values = dataset[column][:]
    refuse_rows(_missing(values), f"without a fold in column {column!r}", "Name a fold for every row.")
    whole = all(_is_whole(value) for value in values)
    return [int(float(value)) for value in values] if whole else [str(value) for value in values]


def named_labels(config: RunConfig) -> RunConfig:
    """The settings with the column of labels that `with_sets` makes, if it makes one."""
    return replace(config, label_columns=(), label_column=_SETS) if config.label_columns else config


def with_sets(part: Dataset, config: RunConfig) -> Dataset:
    """Add a column of lists to rows whose labels are columns of 0 and 1, named after these.

    Raises:
        DataError: If a column is absent, or holds something else.
    """
    if not config.label_columns:
        return part
    marks = [_marks(part, name) for name in config.label_columns]
    sets = [[i for i, mark in enumerate(row) if mark] for row in zip(*marks, strict=True)]
    return part.add_column(_SETS, sets, feature=List(ClassLabel(names=list(config.label_columns))))


def separated(values: list[Any], separator: str | None) -> list[Any]:
    """Cut each text into its labels; one without any has none."""
    if separator is None:
        return values
    return [_cut(value, separator) if isinstance(value, str) else value for value in values]


@dataclass(frozen=True)
class _Search:
    """What one of the columns is known by: its setting, its usual names, and its type."""

    dataset: Dataset
    setting: str
    usual: Sequence[str]
    is_typed: Callable[[Any], bool]
    type_decides: bool = False  # between usual names: pictures before paths, which may name the same
    parts: Callable[[str], list[str]] = lambda name: [name]

    def find(self, given: str | None, taken: set[str]) -> tuple[str, tuple[str, ...]]:
        """The column, and what to know of the choice; those that are `taken` have another use."""
        if given is not None:
            return ",".join(_require(self.dataset, name, self.setting) for name in self.parts(given)), ()
        free = {name: feature for name, feature in self.dataset.features.items() if name not in taken}
        by_lower = {name.lower(): name for name in reversed(free)}
        found = [
            ",".join(by_lower[part] for part in self.parts(name))
            for name in self.usual
            if by_lower.keys() >= set(self.parts(name))
        ]
        if rivals := self._rivals(found, free):
            others = ", ".join(map(repr, rivals))
            return found[0], (
                f"Column {found[0]!r} is taken where {others} would also do; --{self.setting} takes another.",
            )
        if found:
            return found[0], ()
        typed = [name for name, feature in free.items() if self.is_typed(feature)]
        if len(typed) == 1:
            return typed[0], (f"Column {typed[0]!r} is taken for its type; --{self.setting} takes another.",)
        raise _absent(self.dataset, self.usual[0], self.setting)

    def _rivals(self, found: Sequence[str], free: Mapping[str, Any]) -> list[str]:
        """The other columns that would do as well as the first."""
        if not self.type_decides or not found or not self.is_typed(free.get(found[0])):
            return list(found[1:])
        return [name for name in found[1:] if self.is_typed(free.get(name))]


def _is_declared(feature: Any) -> bool:
    return isinstance(feature, ClassLabel)


def _require(dataset: Dataset, name: str, setting: str) -> str:
    if name not in dataset.column_names:
        raise _absent(dataset, name, setting)
    return name


def _absent(dataset: Dataset, name: str, setting: str) -> DataError:
    has = ", ".join(repr(column) for column in sorted(dataset.column_names))
    near = difflib.get_close_matches(name, dataset.column_names, n=1)
    example = repr(near[0])[1:-1] if near else "NAME"
    advice = " If the first line is a row already, put a line of names above it." * _may_be_a_row(dataset)
    return DataError(f"No column {name!r} in the dataset; it has {has}. Pass --{setting} {example}.{advice}")


def _may_be_a_row(dataset: Dataset) -> bool:
    """Whether the names of columns look like values: numbers, sentences, or what the column itself holds."""
    first = dataset[:_LOOKED_AT]
    return any(
        _is_number(name) or name.count(" ") >= _WORDS_OF_A_SENTENCE or name in first[name]
        for name in dataset.column_names
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _missing(values: Sequence[Any]) -> list[int]:
    return [
        row
        for row, value in enumerate(values)
        if value is None
        or (isinstance(value, str) and (not value or value in WRITTEN_MISSING))
        or (isinstance(value, float) and math.isnan(value))
    ]


def _parse_times(values: Sequence[str], column: str) -> list[Any]:
    for parse in (int, float, datetime.datetime.fromisoformat):
        try:
            return [parse(value) for value in values]
        except ValueError:
            continue
    numbers = [value for value in values if not _is_date(value)]
    raise DataError(
        f"Times in column {column!r} are neither all numbers nor all ISO dates such as 2026-01-31T12:00, "
        f"e.g. {some([repr(value) for value in numbers], noun='value', limit=3)}. Write them in one of the "
        "two ways."
    )


def _is_date(value: str) -> bool:
    try:
        datetime.datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _utc(value: datetime.date) -> datetime.date:
    """Convert times to UTC and drop the zone, which numpy does not support."""
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return value.astimezone(datetime.UTC).replace(tzinfo=None)
    return value


def _is_whole(value: Any) -> bool:
    try:
        return float(value).is_integer()
    except (TypeError, ValueError):
        return False


def _cut(text: str, separator: str) -> list[str]:
    return [label for part in text.split(separator) if (label := part.strip())]


def _mark(value: Any) -> int | None:
    if isinstance(value, str):
        return _MARKS.get(value.strip().lower())
    return int(value) if value in (0, 1) else None


def _marks(part: Dataset, column: str) -> Sequence[Any]:
    values: list[Any] = part[_require(part, column, "label_columns")][:]
    marks = [_mark(value) for value in values]
    wrong = [row for row, mark in enumerate(marks) if mark is None]
    refuse_rows(
        wrong,
        f"with neither 0 nor 1 in column {column!r}",
        f"The first has {values[wrong[0]]!r}. Each of label_columns says whether a row has that label."
        if wrong
        else "",
    )
    return marks
