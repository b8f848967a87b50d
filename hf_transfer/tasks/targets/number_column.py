"""Read columns of numbers, and put numbers into bins by which folds are balanced."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError
from hf_transfer.tasks.targets.labels import LabelColumn, as_number, is_missing, refuse_rows

_MOST_BINS = 10


def read_numbers(column: LabelColumn) -> tuple[tuple[str, ...], list[Any]]:
    """The names and the numbers of a column: one number a row, or a list of several.

    Raises:
        DataError: If a number is missing or none, or if lists differ in length.
    """
    several = any(isinstance(value, list | tuple) for value in column.values)
    if not several:
        return (column.name,), _read(column)
    lists = _lists(column)
    names = column.names or tuple(f"{column.name}_{i}" for i in range(len(lists[0])))
    columns = [
        _read(LabelColumn([row[i] for row in lists], f"{column.where}, {name!r}"))
        for i, name in enumerate(names)
    ]
    return names, [list(row) for row in zip(*columns, strict=True)] if len(names) > 1 else columns[0]


def _lists(column: LabelColumn) -> list[Sequence[Any]]:
    wrong = [row for row, value in enumerate(column.values) if not isinstance(value, list | tuple)]
    refuse_rows(wrong, f"without a list of numbers in {column.where}", "Fill them in, or leave them out.")
    lengths = [len(row) for row in column.values]
    short = [row for row, length in enumerate(lengths) if length != lengths[0]]
    refuse_rows(
        short,
        f"with another number of numbers than the first row in {column.where}",
        f"The first row has {lengths[0]}; every row needs as many.",
    )
    if not lengths[0]:
        raise DataError(f"The lists in {column.where} are empty; there is nothing to learn.")
    return list(column.values)


def refuse_constant(names: Sequence[str], numbers: Sequence[Any], where: str) -> None:
    """Stop where all rows have the same number.

    Raises:
        DataError: Naming it.
    """
    table = np.asarray(numbers, np.float64).reshape(-1, len(names))
    for name, column in zip(names, table.T, strict=True):
        if not np.ptp(column):
            which = "number" if len(names) == 1 else repr(name)
            raise DataError(
                f"All {len(column)} rows have the {which} {column[0]:g} in {where}; there "
                "is nothing to learn. Take another column with --label_column."
            )


def quantile_bins(numbers: NDArray[np.float64], fewest: int) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Put numbers into at most ten bins of about as many each; equal numbers share a bin.

    Args:
        numbers: (n,).
        fewest: Numbers of a bin at least, if there are so many.

    Returns:
        The bin of each number, (n,), and the bins' names.
    """
    values, counts = np.unique(numbers, return_counts=True)
    size = max(fewest, math.ceil(len(numbers) / _MOST_BINS))
    starts, held = [0], 0
    for place, count in enumerate(counts.tolist()):
        if held >= size:
            starts.append(place)
            held = 0
        held += count
    if held < fewest and len(starts) > 1:
        starts.pop()
    ends = [*(start - 1 for start in starts[1:]), len(values) - 1]
    names = tuple(f"{values[a]:g} to {values[b]:g}" for a, b in zip(starts, ends, strict=True))
    found = np.searchsorted(values[starts], numbers, "right") - 1
    return found.astype(np.int64), names


def _read(column: LabelColumn) -> list[float]:
    missing = [row for row, value in enumerate(column.values) if is_missing(value)]
    refuse_rows(missing, f"without a label in {column.where}", "Label them or leave them out.")
    numbers = [as_number(value) for value in column.values]
    wrong = [row for row, number in enumerate(numbers) if number is None or not math.isfinite(number)]
    refuse_rows(
        wrong,
        f"whose label in {column.where} is no finite number",
        f"The first is {column.values[wrong[0]]!r}. Correct them or leave them out." if wrong else "",
    )
    return [number for number in numbers if number is not None]
