"""Plan the folds of some rows, cut them out, and set an inner split aside."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import FoldError
from hf_transfer.folds.arrangement import RowsToSplit, arrange
from hf_transfer.folds.checks import fit_num_folds, limit_rows
from hf_transfer.folds.columns import FoldColumns, choose_scheme
from hf_transfer.folds.order import Ints, RowIds, derive_seed, hash_order, ids_at, repeat_seed
from hf_transfer.folds.plan import FoldPlan

if TYPE_CHECKING:
    from datasets import Dataset

NUM_INNER = 3  # folds of training rows, to choose a setting by
SLICES = 5  # of the rows, of which a search of many sets one aside to choose by


@dataclass(frozen=True)
class Fold:
    """One fold: the held-out rows `valid`, and the training rows `train`."""

    index: int
    train: "Dataset"
    valid: "Dataset"


def plan_folds(
    uids: RowIds,
    num_folds: int,
    *,
    seed: int,
    columns: FoldColumns,
    scheme: str = "auto",
    strict: bool = False,
) -> FoldPlan:
    """Plan which rows each fold holds out.

    Args:
        uids: What identifies each row, (n,): the same rows in another order then get the same folds.
        num_folds: Number of folds, k.
        seed: Seed of the order.
        columns: What the rows are split by. Labels also serve to say which folds lack a class.
        scheme: How to split; `auto` chooses by the columns there are.
        strict: Whether more folds than the rows, groups or rarest class allow is an error. If not, k is
            lowered and a note says so; a class that is in one row or group only does not lower it.

    Raises:
        FoldError: If the rows cannot be split so.
    """
    rows = _read(uids, seed, columns, scheme)
    num_folds, notes = _fit(rows, num_folds, strict=strict)
    plan = arrange(rows, num_folds)
    lacking = rows.lacking(plan.fold_of_row(), plan.scored_folds)
    if strict and lacking and rows.scheme.startswith("stratified"):
        raise FoldError(f"{' '.join(lacking)} Try another seed or num_folds, or do not stratify.")
    return replace(plan, notes=notes + plan.notes + lacking)


def plan_repeats(
    uids: RowIds, columns: FoldColumns, config: RunConfig, aside: Sequence[int] = ()
) -> tuple[FoldPlan, ...]:
    """Plan the folds of each repeat of a run, as `plan_folds` does it for one.

    Args:
        uids: What identifies each row, (n,).
        columns: What the rows are split by.
        config: Of which the scheme, the numbers and the seed are used.
        aside: Numbers of rows that are to be in no fold.

    Raises:
        FoldError: If the rows cannot be split so.
    """
    rows = np.setdiff1d(np.arange(len(uids)), np.asarray(aside, dtype=np.int64))
    return tuple(
        plan_among(
            rows,
            uids,
            config.num_folds,
            seed=repeat_seed(config.seed, repeat),
            columns=columns,
            scheme=config.scheme,
            strict=config.strict,
        )
        for repeat in range(config.num_repeats)
    )


def plan_at_random(
    uids: RowIds, columns: FoldColumns, config: RunConfig, plan: FoldPlan, aside: Sequence[int] = ()
) -> FoldPlan:
    """Plan as many folds of the same rows that keep nothing together, balanced by label where they can be.

    Args:
        uids: What identifies each row, (n,).
        columns: What the rows are split by; groups, times and given folds are passed over.
        config: Of which the seed is used.
        plan: The folds of the run's first repeat.
        aside: Numbers of rows that are in no fold.

    Raises:
        FoldError: If the rows cannot be split so.
    """
    alone = replace(columns, groups=None, times=None, folds=None, gap=0)
    once = replace(config, scheme="auto", num_folds=plan.num_folds, num_repeats=1, strict=False)
    (found,) = plan_repeats(uids, alone, once, aside)
    return found


def plan_among(
    rows: Ints, uids: RowIds, num_folds: int, *, columns: FoldColumns, **settings: Any
) -> FoldPlan:
    """Plan the folds of some rows of a table; the other rows are in no fold.

    Args:
        rows: Numbers of the rows to split, ascending.
        uids: What identifies each row of the table, (n,).
        num_folds: Number of folds, k.
        columns: What the rows of the table are split by.
        settings: As of `plan_folds`.
    """
    planned = plan_folds(ids_at(uids, rows), num_folds, columns=columns.take(rows), **settings)
    return planned.among(rows, len(uids))


def k_folds(
    dataset: "Dataset",
    num_folds: int,
    *,
    seed: int,
    stratify_by: str | None = None,
    group_by: str | None = None,
    time_by: str | None = None,
) -> Iterator[Fold]:
    """Yield `num_folds` folds; every row is in exactly one `valid`.

    Args:
        dataset: Rows to split. Their numbers are their ids, so another order gives other folds.
        num_folds: Number of folds, k.
        seed: Seed of the order, as many datasets are stored sorted by label.
        stratify_by: Class column. Each class is spread over the folds to within one row, or as evenly
            as groups allow.
        group_by: Column whose equal values stay in one fold.
        time_by: Column to cut into blocks of time, first to last.

    Raises:
        FoldError: At once, not at the first fold: if `num_folds` is not from 2 to the number of rows,
            groups, or rows of the rarest class, or a column is absent or has missing values.

    Example:
        >>> from datasets import Dataset
        >>> rows = Dataset.from_dict({"label": ["bee"] * 6 + ["ant"] * 3})
        >>> for fold in k_folds(rows, 3, seed=0, stratify_by="label"):
        ...     print(fold.index, sorted(fold.valid["label"]), len(fold.train))
        0 ['ant', 'bee', 'bee'] 6
        1 ['ant', 'bee', 'bee'] 6
        2 ['ant', 'bee', 'bee'] 6
    """
    _refuse_other_than_one_split(dataset)
    if time_by is not None and (stratify_by is not None or group_by is not None):
        raise FoldError(f"time_by={time_by!r} cuts by time alone; leave stratify_by and group_by out.")
    columns = FoldColumns(
        labels=_column(dataset, "stratify_by", stratify_by),
        groups=_column(dataset, "group_by", group_by),
        times=_column(dataset, "time_by", time_by),
        label_names=getattr(dataset.features.get(stratify_by), "names", None),
    )
    plan = plan_folds(range(len(dataset)), num_folds, seed=seed, columns=columns, strict=True)
    return (
        Fold(index, dataset.select(plan.train(index)), dataset.select(plan.valid(index)))
        for index in range(num_folds)
    )


def inner_split(
    rows: Ints,
    uids: RowIds,
    *,
    seed: int,
    columns: FoldColumns,
    scheme: str = "auto",
    share: float = 0.15,
) -> tuple[Ints, Ints]:
    """Set some training rows aside for early stopping, so that the held-out fold stays unseen.

    It is the first of max(5, 1/share) folds made by the same scheme. Of times it is the latest, after
    the gap; of folds that groups make unequal, the one nearest in size to `share`.

    Args:
        rows: Numbers of the rows to learn from.
        uids: What identifies each row of the whole dataset, (n,).
        seed: Seed that the split's own is derived from.
        columns: What the rows of the whole dataset are split by.
        scheme: The scheme of the plan that `rows` came from.
        share: Share of the rows to set aside.

    Returns:
        The rows to learn from, and the rows set aside.

    Raises:
        FoldError: If `share` is not between 0 and 1, or the rows cannot be split.
    """
    if not 0 < share < 1:
        raise FoldError(f"share must lie between 0 and 1, such as 0.15, got {share}.")
    limit_rows(len(rows))
    wanted = max(5, math.ceil(1 / share))
    plan = _inner_plan(rows, uids, wanted, seed, columns, scheme)
    index = _nearest(plan, share * len(rows))
    return rows[plan.train(index)], rows[plan.valid(index)]


def search_plan(
    rows: Ints,
    uids: RowIds,
    num_folds: int,
    *,
    tag: str,
    config: RunConfig,
    columns: FoldColumns,
) -> FoldPlan:
    """Split some rows for a search, by the run's scheme, or by other columns if its folds were predefined.

    Args:
        rows: Numbers of the rows to split.
        uids: What identifies each row of the whole dataset, (n,).
        num_folds: How many.
        tag: What these folds are for.
        config: Of the run, for its seed and scheme.
        columns: What the rows of the whole dataset are split by.
    """
    return plan_among(
        rows,
        uids,
        num_folds,
        seed=derive_seed(config.seed, "search", tag),
        columns=replace(columns, folds=None),
        scheme="auto" if config.scheme == "predefined" else config.scheme,
    )


def inner_folds(
    rows: Ints,
    uids: RowIds,
    *,
    seed: int,
    columns: FoldColumns,
    scheme: str = "auto",
    num_folds: int = NUM_INNER,
) -> list[tuple[Ints, Ints]]:
    """Split the training rows into inner folds, to choose a setting without the held-out fold.

    Args:
        rows: Numbers of the rows to learn from.
        uids: What identifies each row of the whole dataset, (n,).
        seed: Seed that the folds' own is derived from.
        columns: What the rows of the whole dataset are split by.
        scheme: The scheme of the plan that `rows` came from.
        num_folds: How many to make, if the rows allow it.

    Returns:
        Of each fold the rows to learn from, and the rows to choose by.

    Raises:
        FoldError: If the rows cannot be split.
    """
    limit_rows(len(rows))
    plan = _inner_plan(rows, uids, num_folds, seed, columns, scheme)
    return [(rows[plan.train(index)], rows[plan.valid(index)]) for index in plan.scored_folds]


def _inner_plan(
    rows: Ints, uids: RowIds, num_folds: int, seed: int, columns: FoldColumns, scheme: str
) -> FoldPlan:
    inner, scheme = _inner_columns(columns.take(rows), scheme)
    to_split = _read(ids_at(uids, rows), derive_seed(seed, "inner"), inner, scheme)
    # A rare class does not lower the number of folds here, as that would set a third or half aside.
    num_folds, _ = _fit(to_split, num_folds, strict=False, balance=False)
    return arrange(to_split, num_folds)


def _read(uids: RowIds, seed: int, columns: FoldColumns, scheme: str) -> RowsToSplit:
    limit_rows(len(uids))
    columns.check(len(uids))
    return RowsToSplit(choose_scheme(columns, scheme), seed, hash_order(uids, seed), columns)


def _fit(
    rows: RowsToSplit, num_folds: int, *, strict: bool, balance: bool = True
) -> tuple[int, tuple[str, ...]]:
    """Number of folds to make; predefined folds keep theirs."""
    if rows.scheme == "predefined":
        there_are = int(rows.predefined.max()) + 1
        note = f"num_folds is {there_are} instead of {num_folds}, as that many folds are predefined."
        return there_are, (note,) if there_are != num_folds else ()
    limits = rows.limits() + (rows.class_limits(num_folds) if balance else [])
    return fit_num_folds(num_folds, limits, strict=strict)


def _inner_columns(columns: FoldColumns, scheme: str) -> tuple[FoldColumns, str]:
    """Columns of the same scheme, unless just one of the predefined folds is left to learn from."""
    scheme = choose_scheme(columns, scheme)
    if scheme != "predefined" or len(set(columns.require("folds"))) > 1:
        return columns, scheme
    columns = replace(columns, folds=None)
    return columns, choose_scheme(columns)


def _nearest(plan: FoldPlan, num_rows: float) -> int:
    """The inner fold to set aside: the latest in time, or the first, or the nearest in size."""
    if plan.scheme in {"time", "walk-forward"}:
        return plan.num_folds - 1
    sizes = [len(plan.valid(index)) for index in range(plan.num_folds)]
    if max(sizes) - min(sizes) <= 1:
        return 0
    return min(range(plan.num_folds), key=lambda index: abs(sizes[index] - num_rows))


def _refuse_other_than_one_split(dataset: Any) -> None:
    from datasets import Dataset  # here, as it takes a second to import, and plans don't need it

    if isinstance(dataset, dict):
        names = " and ".join(repr(name) for name in dataset)
        raise FoldError(f"Expected one split, got a {type(dataset).__name__} with {names}. Pass one of them.")
    if not isinstance(dataset, Dataset):
        raise FoldError(f"Expected a datasets.Dataset, got {type(dataset).__name__}. Load the rows into one.")


def _column(dataset: "Dataset", setting: str, name: str | None) -> list[Any] | None:
    if name is None:
        return None
    if name not in dataset.column_names:
        there_are = ", ".join(repr(column) for column in sorted(dataset.column_names))
        raise FoldError(
            f"No column {name!r} in the dataset; it has {there_are}. Pass one of them as {setting}."
        )
    values: list[Any] = dataset.with_format(None)[name][:]
    return values
