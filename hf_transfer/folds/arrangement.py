"""Order rows so that cutting them into shards gives the folds of a scheme."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import FoldError
from hf_transfer.folds.checks import Limit, limit_classes, limit_groups, limit_rows, what_folds_lack
from hf_transfer.folds.columns import (
    Codes,
    FoldColumns,
    read_codes,
    read_counts,
    read_ranks,
    read_times,
    sum_by,
)
from hf_transfer.folds.greedy import balance_classes, balance_mentions, balance_sizes
from hf_transfer.folds.order import Ints
from hf_transfer.folds.plan import FoldPlan


@dataclass(frozen=True, eq=False)
class RowsToSplit:
    """Rows in hash order, with the columns to split them by.

    A column is read when the scheme or a message needs it, so one that is not used may have gaps.
    """

    scheme: str
    seed: int
    order: Ints
    columns: FoldColumns

    @cached_property
    def labels(self) -> Codes:
        """Class of each row, numbered by first appearance."""
        return read_codes(self.columns.require("labels"), "labels", self.order)

    @cached_property
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of their numbers."""
        return [self.columns.name(label) for label in self.labels.values]

    @cached_property
    def groups(self) -> Codes | None:
        """Group of each row, numbered likewise; None without groups."""
        keeps_groups = self.scheme in {"group", "stratified-group", "entity"}
        if not keeps_groups or self.columns.groups is None:
            return None
        return read_codes(self.columns.groups, "groups", self.order)

    @cached_property
    def units(self) -> tuple[Ints, Ints]:
        """Units that are assigned whole: the unit of each row, (n,), and each unit's size, (u,)."""
        if self.groups is not None:
            return self.groups.ids, self.groups.sizes
        return np.argsort(self.order), np.ones(len(self.order), dtype=np.int64)

    @cached_property
    def counts(self) -> Ints:
        """Number of mentions of each entity type, (n, t)."""
        return read_counts(self.columns.require("counts"))

    @cached_property
    def predefined(self) -> Ints:
        """Predefined folds, from 0 to k - 1."""
        folds = read_ranks(self.columns.require("folds"), "folds")
        if not folds.any():
            raise FoldError(
                f"All {len(folds)} rows are in one predefined fold. Name two or more, or take another scheme."
            )
        return folds

    def limits(self) -> list[Limit]:
        """Maximum number of folds that the rows, and the groups if any, allow."""
        of_groups = [] if self.groups is None else [limit_groups(self.groups)]
        return [limit_rows(len(self.order)), *of_groups]

    def class_limits(self, num_folds: int) -> list[Limit]:
        """Maximum number of folds that the rarest class allows, where classes are balanced."""
        if not self.scheme.startswith("stratified"):
            return []
        return [limit_classes(self.labels, self.class_names, self.groups, num_folds)]

    def lacking(self, fold_of_row: Ints, scored: range) -> tuple[str, ...]:
        """Name the classes or entity types that some fold lacks."""
        num_columns = scored.stop + 1
        columns = fold_of_row % num_columns  # a row that is never held out, -1, counts in the last
        if self.scheme == "entity":
            table = sum_by(columns, self.counts, num_columns).T
            names = [self.columns.name(kind) for kind in range(len(table))]
            return what_folds_lack(table, scored, names, self.columns.counted)
        if self.columns.labels is None:
            return ()
        table = np.zeros((len(self.labels.values), num_columns), dtype=np.int64)
        np.add.at(table, (self.labels.ids, columns), 1)
        return what_folds_lack(table, scored, self.class_names, ("class", "row"))


def arrange(rows: RowsToSplit, num_folds: int) -> FoldPlan:
    """Order rows by their scheme.

    Args:
        rows: What to arrange.
        num_folds: Number of folds, within the limits of the rows.

    Raises:
        FoldError: If a value to split by is missing, or a block of time has nothing to train on.
    """
    if rows.scheme in {"time", "walk-forward"}:
        return _blocks(rows, num_folds)
    is_strided = rows.scheme == "stratified"
    if rows.scheme == "random":
        permutation = rows.order
    elif is_strided:
        permutation = _sorted_by(rows.labels.ids, rows.order)
    else:
        permutation = _pack(_assigned(rows, num_folds), rows.order, num_folds)
    return FoldPlan(rows.scheme, num_folds, permutation, not is_strided, len(rows.order), rows.seed)


def _assigned(rows: RowsToSplit, num_folds: int) -> Ints:
    """Fold of each row, for schemes that assign rows to folds."""
    if rows.scheme == "predefined":
        return rows.predefined
    ids, sizes = rows.units
    if rows.scheme == "group":
        return balance_sizes(sizes, num_folds)[ids]
    if rows.scheme == "stratified-group":
        return balance_classes(ids, rows.labels.ids, num_folds)[ids]
    return balance_mentions(sum_by(ids, rows.counts, len(sizes)), sizes, num_folds)[ids]


def _blocks(rows: RowsToSplit, num_folds: int) -> FoldPlan:
    """Cut time into blocks, and mark the rows on either side that a fold must not train on."""
    times, gap, n = read_times(rows.columns.require("times")), rows.columns.gap, len(rows.order)
    permutation = _sorted_by(times, rows.order)
    moments = times[permutation]
    stops = np.cumsum(_shard_sizes(n, num_folds))
    starts = np.concatenate([[0], stops[:-1]])
    # What has the time of a held-out row may be the same event, so it is left out with the gap.
    low = np.minimum(starts - gap, np.searchsorted(moments, moments[starts], "left")).clip(min=0)
    high = np.maximum(stops + gap, np.searchsorted(moments, moments[stops - 1], "right")).clip(max=n)
    notes = []
    if (moments[starts[1:]] == moments[stops[:-1] - 1]).any():
        notes.append("Rows of one time lie in two blocks; a fold does not train on times that it holds out.")
    if past_only := rows.scheme == "walk-forward":
        high[:] = n
        notes.append(f"The {stops[0]} earliest rows are trained on and never held out.")
    spans = tuple(zip(low.tolist(), high.tolist(), strict=True))
    _refuse_untrained(spans, n, gap=gap, first=int(past_only))
    return FoldPlan(
        rows.scheme, num_folds, permutation, True, n, rows.seed, untrained=spans, notes=tuple(notes)
    )


def _refuse_untrained(spans: tuple[tuple[int, int], ...], num_rows: int, *, gap: int, first: int) -> None:
    for index, span in enumerate(spans):
        if index >= first and span == (0, num_rows):
            raise FoldError(
                f"Fold {index} has no rows to train on: gap={gap} and the times that it holds out leave none "
                f"of {num_rows}. Lower gap, change num_folds, or order by a finer time."
            )


def _sorted_by(codes: Ints, order: Ints) -> Ints:
    """Sort rows by a code; rows of equal code keep their order."""
    return order[np.argsort(codes[order], kind="stable")]


def _shard_sizes(num_rows: int, num_folds: int) -> Ints:
    """Sizes of contiguous shards; the first ones take the remainder."""
    return num_rows // num_folds + (np.arange(num_folds) < num_rows % num_folds).astype(np.int64)


def _pack(folds: Ints, order: Ints, num_folds: int) -> Ints:
    """Turn fold numbers into a permutation whose contiguous shards are the folds."""
    by_fold = _sorted_by(folds, order)
    sizes = np.bincount(folds, minlength=num_folds)
    if np.array_equal(sizes, _shard_sizes(len(order), num_folds)):
        return by_fold
    padded = np.full((num_folds, sizes.max()), -1, dtype=np.int64)
    padded[np.arange(sizes.max()) < sizes[:, None]] = by_fold
    return padded.ravel()
