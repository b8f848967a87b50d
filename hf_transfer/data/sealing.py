"""Seal rows before the split: the only ones on which the folds' models can be compared fairly."""

from dataclasses import replace

import numpy as np

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.labelled import LabelledData, fingerprint
from hf_transfer.errors import DataError, FoldError
from hf_transfer.folds import (
    FoldColumns,
    derive_seed,
    inner_split,
)
from hf_transfer.machine.wording import count
from hf_transfer.tasks.task import Task


def seal_rows(task: Task, data: LabelledData, config: RunConfig) -> LabelledData:
    """Move a share of the rows from `rows` to `sealed`, chosen like a fold of that size.

    So they follow from the hash of their ids, have the classes in like shares, are whole groups, or
    are the latest in time (rows within `gap` of them are then left out altogether).

    Args:
        task: Says what folds are balanced by.
        data: All rows.
        config: Of which `sealed`, `seed`, `scheme` and `gap` are used.

    Raises:
        DataError: If so few rows cannot be set aside, or leave too few.
    """
    if not config.sealed:
        return data
    columns, seed = fold_columns(task, data, config), derive_seed(config.seed, "sealed")
    uids, share = data.rows["row_id"][:], config.sealed
    try:
        rest, sealed = inner_split(
            np.arange(len(uids)), uids, seed=seed, columns=columns, scheme=config.scheme, share=share
        )
    except FoldError as error:
        raise DataError(f"sealed={share:g} cannot be set aside: {error} Or leave sealed out.") from error
    rows = data.rows.select(np.sort(rest))
    note = (
        f"{count(len(sealed), 'row')} of {len(uids):,} sealed before the split (sealed={share:g}): in no "
        "fold, and no model learned from them."
    )
    return replace(
        data,
        rows=rows,
        sealed=data.rows.select(np.sort(sealed)),
        fingerprint=fingerprint(rows, data.input, data.label_names),
        notes=(*data.notes, note),
    )


def fold_columns(task: Task, data: LabelledData, config: RunConfig) -> FoldColumns:
    """Columns to split a data set by: labels or mentions, and groups, times or given folds."""
    rows = data.rows
    present = {
        field: rows[column][:]
        for field, column in (("groups", "group"), ("times", "time"), ("folds", "fold"))
        if column in rows.column_names
    }
    return replace(task.target.balance(rows), gap=config.gap, **present)
