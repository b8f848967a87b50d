"""The columns to split rows by, read once as small whole numbers; choose the scheme from them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import FoldError
from hf_transfer.folds.order import Ints
from hf_transfer.machine.wording import count

Values = Sequence[Any] | NDArray[Any]
Kept = Literal["groups", "times", "folds"]

_NEEDS = {
    "random": (), "stratified": ("labels",), "group": ("groups",), "stratified-group": ("groups", "labels"),
    "time": ("times",), "walk-forward": ("times",), "predefined": ("folds",), "entity": ("counts",),
}  # fmt: skip
# What each scheme keeps apart, where it is given.
_KEEPS: dict[str, Kept] = {
    "predefined": "folds", "time": "times", "walk-forward": "times", "group": "groups",
    "stratified-group": "groups", "entity": "groups",
}  # fmt: skip
# What auto tries, in this order: what must not be broken comes before what is good to balance. Entity
# keeps groups together too, where there are any.
_AUTO = ("predefined", "time", "stratified-group", "entity", "group", "stratified", "random")


@dataclass(frozen=True, eq=False)
class FoldColumns:
    """Columns to split rows by, one entry a row; None for each one that is absent.

    Attributes:
        labels: Class of each row.
        groups: Rows with equal groups stay in one fold.
        times: Numbers, dates, or text in ISO 8601 form.
        folds: Folds that somebody else decided, as numbers or names.
        counts: Mentions of each entity type in each row, (n, t).
        label_names: For messages: names of the labels by number or, with `counts`, of the t types.
        counted: For messages: what a column of `counts` is, and what it counts.
        gap: Rows that are not trained on, on each side of a held-out block of time.
    """

    labels: Values | None = None
    groups: Values | None = None
    times: Values | None = None
    folds: Values | None = None
    counts: Values | None = None
    label_names: Sequence[str] | None = None
    counted: tuple[str, str] = ("entity type", "mention")
    gap: int = 0

    def take(self, rows: Ints) -> "FoldColumns":
        """Select some rows."""
        taken: dict[str, Any] = {name: pick(values, rows) for name, values in self.given().items()}
        return replace(self, **taken)

    def given(self) -> dict[str, Values]:
        """The columns that are present, by name."""
        columns = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name not in {"label_names", "counted", "gap"}
        }
        return {name: values for name, values in columns.items() if values is not None}

    def require(self, name: str) -> Values:
        """A column that the scheme needs; an error if it is absent.

        Raises:
            FoldError: If it is not given.
        """
        if (values := self.given().get(name)) is None:
            raise FoldError(f"No {name} were given to split the rows by.")
        return values

    def check(self, num_rows: int) -> None:
        """Stop if a column does not have one entry a row, or the gap would have no effect.

        Raises:
            FoldError: Naming the column or the gap.
        """
        for name, values in self.given().items():
            if len(values) != num_rows:
                raise FoldError(f"Expected one of {name} for each of {num_rows} rows, got {len(values)}.")
        if self.gap < 0:
            raise FoldError(f"gap must be 0 or more rows, got {self.gap}.")
        if self.gap and self.times is None:
            raise FoldError(f"gap={self.gap} needs times to order the rows by; give them or leave gap out.")

    def name(self, label: object) -> str:
        """Write a label for a message, by its name if it has one."""
        names = self.label_names or ()
        if isinstance(label, int | np.integer) and 0 <= label < len(names):
            return repr(names[int(label)])
        return repr(str(label)) if isinstance(label, str) else str(label)


@dataclass(frozen=True, eq=False)
class Codes:
    """A column as whole numbers.

    Attributes:
        ids: From 0 to u - 1, one a row.
        values: What each number stands for, (u,).
        sizes: Rows of each, (u,).
    """

    ids: Ints
    values: list[Any]
    sizes: Ints


def choose_scheme(columns: FoldColumns, wanted: str = "auto") -> str:
    """Choose a scheme from the columns, or check that the given scheme has the ones it needs.

    Example:
        >>> choose_scheme(FoldColumns(labels=[0, 1, 0], groups=["ann", "bob", "ann"]))
        'stratified-group'

    Raises:
        FoldError: If no scheme has that name, or a column that it splits by is not given.
    """
    present = columns.given()
    if wanted == "auto":
        return next(scheme for scheme in _AUTO if present.keys() >= set(_NEEDS[scheme]))
    if wanted not in _NEEDS:
        raise FoldError(f"Unknown scheme {wanted!r}. Choose from auto, {', '.join(_NEEDS)}.")
    if missing := [name for name in _NEEDS[wanted] if name not in present]:
        raise FoldError(
            f"scheme={wanted!r} splits by {' and '.join(missing)}, not given here. Give them or take 'auto'."
        )
    return wanted


def kept_apart(columns: FoldColumns, scheme: str) -> Kept | None:
    """Name of the column whose rows a scheme never parts between training and scoring; None without one.

    Example:
        >>> kept_apart(FoldColumns(labels=[0, 1], groups=["ann", "bob"]), "stratified-group")
        'groups'
    """
    name = _KEEPS.get(scheme)
    return name if name in columns.given() else None


def pick(values: Values, rows: Ints) -> Values:
    """Select rows; from an array as an array, which takes a fifth of the memory."""
    if isinstance(values, np.ndarray):
        return values[rows]
    column = list(values)
    return [column[row] for row in rows.tolist()]


def read_codes(values: Values, name: str, order: Ints) -> Codes:
    """Number equal values by first appearance in hash order.

    So neither the order of the rows nor what a class is called can change a fold.

    Raises:
        FoldError: If a value is missing or is a list.
    """
    codes = np.empty(len(order), dtype=np.int64)
    if _are_whole(values):
        distinct, first, ranks = np.unique(np.asarray(values)[order], return_index=True, return_inverse=True)
        turn = np.argsort(first)
        codes[order] = np.argsort(turn)[ranks]
        return Codes(codes, distinct[turn].tolist(), np.bincount(codes, minlength=len(turn)))
    column = _complete(values, name)
    ids: dict[Any, int] = {}
    try:
        codes[order] = [ids.setdefault(value, len(ids)) for value in pick(column, order)]
    except TypeError:
        raise FoldError(f"Each row needs a single value in {name}, got lists or arrays.") from None
    return Codes(codes, list(ids), np.bincount(codes, minlength=len(ids)))


def read_ranks(values: Values, name: str) -> Ints:
    """Number equal values in ascending order.

    Raises:
        FoldError: If a value is missing, or if they cannot be ordered.
    """
    if _are_whole(values):
        return np.unique(np.asarray(values), return_inverse=True)[1].astype(np.int64)
    column = _complete(values, name)
    try:
        ranks = {value: rank for rank, value in enumerate(sorted(set(column)))}
    except TypeError:
        kinds = sorted({type(value).__name__ for value in column})
        raise FoldError(
            f"Values of {name} cannot be put in order; they are of type {', '.join(kinds)}."
        ) from None
    return np.array([ranks[value] for value in column], dtype=np.int64)


def read_times(values: Values) -> Ints:
    """Number points in time in ascending order.

    Raises:
        FoldError: If one is missing, cannot be compared, or is text that is no ISO 8601 date. As text,
            "9" comes after "10" and "31/01/2024" after "01/02/2024".
    """
    column = _complete(values, "times")
    if all(isinstance(value, str) for value in column):
        column = [_moment(value) for value in column]
    return read_ranks(column, "times")


def read_counts(values: Values) -> Ints:
    """Mentions as whole numbers, (n, t).

    Raises:
        FoldError: If they are no table of whole numbers from 0.
    """
    counts = np.asarray(values)
    if counts.ndim != 2 or counts.dtype.kind not in "iu" or (counts.size and counts.min() < 0):
        raise FoldError(
            f"counts must be whole numbers from 0, a row each and a column each type, got {counts.dtype} of "
            f"shape {counts.shape}."
        )
    return counts.astype(np.int64)


def sum_by(ids: Ints, counts: Ints, num_units: int) -> Ints:
    """Sum the counts (n, t) of each unit, (u, t)."""
    summed = np.zeros((num_units, counts.shape[1]), dtype=np.int64)
    np.add.at(summed, ids, counts)
    return summed


def _are_whole(values: Values) -> bool:
    """Whether a column is an array of whole numbers, which cannot have missing values."""
    return isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "iu"


def _complete(values: Values, name: str) -> list[Any]:
    column = list(values)
    missing = [row for row, value in enumerate(column) if _is_missing(value)]
    if missing:
        raise FoldError(
            f"{count(len(missing), 'row')} of {len(column)} without a value in {name}; the first is row "
            f"{missing[0]}. Fill in the values or leave such rows out."
        )
    return column


def _is_missing(value: Any) -> bool:
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, list | np.ndarray):
        return False  # refused later, for what it is
    return value is None or bool(value != value)  # NaN and NaT differ from themselves


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise FoldError(
            f"times has {text!r}, which is no date in ISO 8601 form such as '2024-01-31' or "
            "'2024-01-31T09:30:00'. Write dates so, or give numbers."
        ) from None
