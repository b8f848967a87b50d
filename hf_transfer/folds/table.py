"""The split as a table: the fold that holds each row out, and the columns it was split by."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import FoldError
from hf_transfer.folds.columns import FoldColumns, read_counts, read_ranks, read_times
from hf_transfer.folds.order import RowIds
from hf_transfer.folds.plan import FoldPlan

_NAMES = {"labels": "label", "groups": "group", "times": "time", "folds": "predefined"}


def coded_columns(columns: FoldColumns) -> FoldColumns:
    """Replace groups, times and given folds by whole numbers that split the rows in the same way.

    They say who belongs together and what came first, and nobody's name or date.

    Raises:
        FoldError: If a value is missing, or if the values of one column cannot be put in order.
    """
    coded: dict[str, Any] = {}
    for name, read in (("groups", read_ranks), ("folds", read_ranks)):
        if (values := getattr(columns, name)) is not None:
            coded[name] = read(values, name)
    if columns.times is not None:
        coded["times"] = read_times(columns.times)
    return replace(columns, **coded)


def fold_table(plans: Sequence[FoldPlan], uids: RowIds, columns: FoldColumns) -> pa.Table:
    """A table to rebuild the folds from, one line for each row and repeat.

    Args:
        plans: The folds of each repeat.
        uids: What identifies each row, (n,).
        columns: What the rows were split by, from `coded_columns`.

    Returns:
        Columns `row_id`, `repeat` and `fold` (-1 where none holds the row out); then, where the rows
        have them, `label`, `group`, `time`, `predefined`, and `mentions` with a field for each entity
        type; and where some rows are in no fold on purpose, `aside`.
    """
    repeats = np.repeat(np.arange(len(plans), dtype=np.int32), len(uids))
    folds = np.concatenate([plan.fold_of_row() for plan in plans]).astype(np.int32)
    split_by = {name: pa.chunked_array([array] * len(plans)) for name, array in split_arrays(columns).items()}
    aside = ~np.isin(np.arange(len(uids)), plans[0].permutation)
    if aside.any():
        split_by["aside"] = pa.chunked_array([pa.array(aside)] * len(plans))
    ids = pa.chunked_array([pa.array(uids)] * len(plans))
    return pa.table({"row_id": ids, "repeat": repeats, "fold": folds} | split_by)


def read_fold_table(table: pa.Table, label_names: Sequence[str], gap: int = 0) -> tuple[RowIds, FoldColumns]:
    """Read the row ids and the columns they were split by from a `fold_table`.

    Args:
        table: The split.
        label_names: Names of the labels by number.
        gap: Rows that are not trained on, on each side of a held-out block of time.

    Raises:
        FoldError: If the table lacks its first columns.
    """
    if lacking := {"row_id", "repeat", "fold"}.difference(table.column_names):
        raise FoldError(
            f"The table of folds lacks {', '.join(sorted(lacking))}; it has {', '.join(table.column_names)}."
        )
    rows = first_repeat(table)
    given: dict[str, Any] = {
        name: rows[column].to_numpy() for name, column in _NAMES.items() if column in rows.column_names
    }
    if "mentions" in rows.column_names:
        mentions = rows.select(["mentions"]).flatten()
        given["counts"] = np.stack([column.to_numpy() for column in mentions.columns], axis=1)
        label_names = tuple(name.removeprefix("mentions.") for name in mentions.column_names)
    return rows["row_id"].to_numpy(), FoldColumns(label_names=label_names, gap=gap, **given)


def rows_aside(table: pa.Table) -> tuple[int, ...]:
    """Numbers of the rows that are deliberately in no fold, from a `fold_table`."""
    rows = first_repeat(table)
    if "aside" not in rows.column_names:
        return ()
    return tuple(np.flatnonzero(rows["aside"].to_numpy()).tolist())


def first_repeat(table: pa.Table) -> pa.Table:
    """Lines of the first repeat; the table itself if there is just one."""
    first = pc.equal(table["repeat"], 0)
    return table if pc.all(first).as_py() else table.filter(first)


def split_arrays(columns: FoldColumns) -> dict[str, pa.Array]:
    """The columns of the table that say what the rows are split by."""
    given = columns.given()
    arrays = {column: pa.array(given[name]) for name, column in _NAMES.items() if name in given}
    if columns.counts is not None:
        counts = read_counts(columns.counts)
        names = columns.label_names or [str(kind) for kind in range(counts.shape[1])]
        arrays["mentions"] = pa.StructArray.from_arrays([pa.array(kind) for kind in counts.T], names=names)
    return arrays
