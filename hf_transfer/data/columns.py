"""Find the columns of a dataset by what the user named, or by the names that people usually give."""

import datetime
import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ColumnError, DataError
from hf_transfer.machine.wording import some
from hf_transfer.tasks.targets.labels import WRITTEN_MISSING, refuse_rows
from hf_transfer.tasks.task import Task

_LOOKED_AT = 100  # rows by which a name is known as a value
_WORDS_OF_A_SENTENCE = 4
_NAMED = ("id_column", "group_by", "time_by", "fold_column", "site_column")


@dataclass(frozen=True)
class Columns:
    """The names of the columns that are used, and what was taken where several would do."""

    input: str
    inputs: Sequence[str]  # those that `input` names
    label: str
    id: str | None
    group: str | None
    time: str | None
    fold: str | None
    site: str | None = None
    notes: tuple[str, ...] = ()
    fold_notes: tuple[str, ...] = ()  # those of them that tell what stays in one fold


def find_columns(dataset: Dataset, config: RunConfig, task: type[Task]) -> Columns:
    """Find the columns that the settings name; input and label also by their usual names.

    Raises:
        DataError: If a column is absent, naming those that are there.
    """
    for setting in _NAMED:
        if (name := getattr(config, setting)) is not None:
            require(dataset, name, setting)
    inputs, input_notes = find_input(dataset, config, task)
    _, usual_labels = task.usual_columns(dataset.features)
    search = _Search(dataset, "label_column", usual_labels, _is_declared)
    taken = {*_taken(config), *task.input.columns_of(inputs)}
    label, label_notes = search.find(config.label_column, taken)
    group, group_notes = _group(dataset, config, task.input.groups, {*taken, label})
    return Columns(
        input=inputs,
        inputs=task.input.columns_of(inputs),
        label=label,
        id=config.id_column,
        group=group,
        time=config.time_by,
        fold=config.fold_column,
        site=config.site_column,
        notes=(*task.input.notes(inputs), *input_notes, *label_notes, *group_notes),
        fold_notes=group_notes,
    )


def find_input(dataset: Dataset, config: RunConfig, task: type[Task]) -> tuple[str, tuple[str, ...]]:
    """Find the column of inputs, and what to know of the choice.

    Raises:
        DataError: If there is none, naming those that are there.
    """
    usual, _ = task.usual_columns(dataset.features)
    parts, typed = task.input.columns_of, task.input.is_typed
    search = _Search(dataset, "input_column", usual, typed, type_decides=True, parts=parts)
    return search.find(config.input_column, _taken(config))


def _taken(config: RunConfig) -> set[str]:
    """Columns that were named for a use."""
    named = (getattr(config, setting) for setting in ("input_column", "label_column", *_NAMED))
    return {name for name in named if name is not None}


def _group(
    dataset: Dataset, config: RunConfig, usual: Sequence[str], taken: set[str]
) -> tuple[str | None, tuple[str, ...]]:
    """The column that groups rows: the given one, or a usual one where no setting says how to split."""
    if config.group_by or config.time_by or config.fold_column or config.scheme != "auto":
        return config.group_by, ()
    by_lower = {name.lower(): name for name in reversed(dataset.column_names) if name not in taken}
    found = next((by_lower[name] for name in usual if name in by_lower), None)
    if found is None:
        return None, ()
    note = (
        f"Rows of one {found!r} stay together in a fold. --group_by takes another column, and --scheme "
        "stratified none."
    )
    return found, (note,)


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


def groups(dataset: Dataset, column: str, noun: str = "group") -> list[str]:
    """Give every row's group, or its site, as text.

    Raises:
        DataError: If a row has none: it could share a group with any other row.
    """
    values = dataset[column][:]
    refuse_rows(_missing(values), f"without a {noun} in column {column!r}", f"Name a {noun} for every row.")
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
            names = [require(self.dataset, name, self.setting) for name in self.parts(given)]
            if len({*names}) < len(names):
                raise DataError(f"--{self.setting} names {names[0]!r} twice. Name two columns, or it alone.")
            return ",".join(names), ()
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
        raise _absent(self.dataset, self.parts(self.usual[0]), self.setting)

    def _rivals(self, found: Sequence[str], free: Mapping[str, Any]) -> list[str]:
        """The other columns that would do as well as the first."""
        if not self.type_decides or not found or not self._is_content(free.get(found[0])):
            return list(found[1:])
        return [name for name in found[1:] if self._is_content(free.get(name))]

    def _is_content(self, feature: Any) -> bool:
        """Whether it holds pictures or sounds themselves, which a column of file names only names again."""
        return self.is_typed(feature) or isinstance(feature, dict)


def _is_declared(feature: Any) -> bool:
    return isinstance(feature, ClassLabel)


def require(dataset: Dataset, name: str, setting: str) -> str:
    """The name of a column that a setting names.

    Raises:
        DataError: If there is none of that name.
    """
    if name not in dataset.column_names:
        raise _absent(dataset, [name], setting)
    return name


def _absent(dataset: Dataset, names: Sequence[str], setting: str) -> ColumnError:
    has = ", ".join(repr(column) for column in sorted(dataset.column_names))
    near = difflib.get_close_matches(names[0], dataset.column_names, n=1) if len(names) == 1 else []
    example = repr(near[0])[1:-1] if near else ",".join("NAME" for _ in names)
    absent = f"column {names[0]!r}"
    if len(names) > 1:
        absent = f"columns {' and '.join(map(repr, names))}, nor others of usual names,"
    advice = " If the first line is a row already, put a line of names above it." * _may_be_a_row(dataset)
    return ColumnError(
        f"No {absent} in the dataset; it has {has}. Pass --{setting} {example}.{advice}", setting
    )


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
    numbers = [value for value in values if not is_date(value)]
    raise DataError(
        f"Times in column {column!r} are neither all numbers nor all ISO dates such as 2026-01-31T12:00, "
        f"e.g. {some([repr(value) for value in numbers], noun='value', limit=3)}. Write them in one of the "
        "two ways."
    )


def is_date(value: str) -> bool:
    """Whether a text is an ISO date, with or without a time."""
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
