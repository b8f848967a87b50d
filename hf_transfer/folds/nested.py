"""Nested subsets of rows for a learning curve: each size contains every smaller one."""

import numpy as np

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import FoldError
from hf_transfer.folds.columns import FoldColumns
from hf_transfer.folds.order import Ints, RowIds, hash_order, ids_at


def nested_rows(rows: Ints, percent: int, *, uids: RowIds, seed: int, columns: FoldColumns) -> Ints:
    """Select about so many percent of some rows; a larger percentage keeps these and adds more.

    The rows are taken in the order of their hash, each class in step with the others and with its
    first row as early as any, so that a small part has every class if it can. Where rows are
    grouped, groups are taken whole, and the size is the nearest that this allows. A row of mentions
    counts as one of the rarest type in it.

    Args:
        rows: Numbers of the rows to take from.
        percent: From 1 to 100.
        uids: What identifies each row of the whole dataset, (n,).
        seed: Seed of the order.
        columns: Labels or mentions, and groups as numbers, of the whole dataset.

    Raises:
        FoldError: If `percent` is out of range, or there are fewer than two rows.
    """
    if not 1 <= percent <= 100 or len(rows) < 2:
        raise FoldError(f"percent must be from 1 to 100, of 2 rows or more; got {percent} of {len(rows)}.")
    rows = rows[hash_order(ids_at(uids, rows), seed)]
    groups = np.arange(len(rows)) if columns.groups is None else np.asarray(columns.groups)[rows]
    _, first, unit_of_row, sizes = np.unique(
        groups, return_index=True, return_inverse=True, return_counts=True
    )
    order = _in_step(_classes(columns, rows)[first], first)
    ends = np.cumsum(sizes[order])
    num_wanted = max(2.0, len(rows) * percent / 100)
    taken = max(int(np.searchsorted(ends, 2)), int(np.abs(ends - num_wanted).argmin())) + 1
    return np.sort(rows[np.isin(unit_of_row, order[:taken])])


def _classes(columns: FoldColumns, rows: Ints) -> Ints:
    """Class number of each row, (len(rows),); 0 for all without classes."""
    if columns.counts is not None:
        present = np.asarray(columns.counts)[rows] > 0
        common = np.where(present, present.sum(axis=0), len(rows) + 1)
        none = np.full(len(rows), present.shape[1], np.int64)
        return np.where(present.any(axis=1), common.argmin(axis=1), none)
    if columns.labels is None:
        return np.zeros(len(rows), np.int64)
    return np.unique(np.asarray(columns.labels)[rows], return_inverse=True)[1].astype(np.int64)


def _in_step(classes: Ints, first_rows: Ints) -> Ints:
    """Order units so that every prefix has the classes in similar shares."""
    order = np.argsort(first_rows, kind="stable")
    share = np.zeros(len(order))
    for kind in np.unique(classes):
        members = order[classes[order] == kind]
        share[members] = np.arange(len(members)) / len(members)
    return np.lexsort((first_rows, share))
