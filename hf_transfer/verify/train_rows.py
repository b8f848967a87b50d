"""Verify scores of training rows, as far as the predictions behind them are there."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hf_transfer import __version__, _guard  # noqa: F401
from hf_transfer.folds import (
    FoldPlan,
    RowIds,
    hash_order,
    ids_at,
    nested_rows,
)
from hf_transfer.machine.files import load_table
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.run_folder import TRAIN_ROWS, fold_place, place_of
from hf_transfer.verify.check import (
    OK,
    Check,
    column_differences,
    differences,
    judged,
    left_out,
    not_by_logits,
)
from hf_transfer.verify.record import Record

NOT_THERE = "the predictions behind them are not there: they are not published, or an earlier version ran"


def train_check(record: Record) -> Check:
    """Training scores, as far as the predictions behind them are there; what is not compared is told."""
    told = [
        seen_rows(record, fold, fold_place(place_of(config, list(record.entries)), fold.repeat, fold.fold))
        for config, folds in record.entries.items()
        for fold in folds
        if fold.train_scores
    ]
    there = sum(rows is not None for rows in told)
    if told and not there:
        return left_out("train scores", NOT_THERE)
    check = judged("train scores", "follow from predictions of training rows", lambda: _train(record))
    if check.state == OK and there < len(told):
        return left_out("train scores", f"those of {len(told) - there} of {len(told)} folds: {NOT_THERE}")
    return check


def _train(record: Record) -> Iterator[str]:
    for config, folds in record.entries.items():
        inside = place_of(config, list(record.entries))
        for fold in folds:
            yield from train_scores(record, fold, fold_place(inside, fold.repeat, fold.fold))


def train_scores(record: Record, fold: FoldResult, place: str, percent: int = 100) -> Iterator[str]:
    """Compare a fold's training scores with those that its predictions give."""
    rows = seen_rows(record, fold, place)
    if rows is None:
        return
    scores, (uids, _) = record.scorer.score(rows), record.split
    written = {name: fold.train_scores.get(name) for name in scores}
    yield from differences(written, scores, f"{place}.train_scores")
    yield from not_by_logits(rows, record.scorer, f"{place}/{TRAIN_ROWS}")
    train = train_rows(record, record.plans, fold, percent)
    order = hash_order(ids_at(uids, train), fold.seed)
    sample = np.sort(train[order[: fold.num_valid]])
    yield from other_rows(rows, ids_at(uids, sample), f"{place}/{TRAIN_ROWS}")


def seen_rows(record: Record, fold: FoldResult, place: str) -> pa.Table | None:
    """Predictions of a fold's training rows, if stored."""
    path = record.folder / "folds" / place / TRAIN_ROWS
    return load_table(path) if fold.status == "done" and path.is_file() else None


def train_rows(
    record: Record, plans: Sequence[FoldPlan], fold: FoldResult, percent: int
) -> NDArray[np.int64]:
    """Numbers of a fold's training rows, or of the share of them that it learned from."""
    plan, (uids, columns) = plans[fold.repeat], record.split
    rows = plan.train(fold.fold)
    if percent == 100:
        return rows
    return nested_rows(rows, percent, uids=uids, seed=plan.seed, columns=columns)


def other_rows(rows: pa.Table, uids: RowIds, where: str) -> Iterator[str]:
    """Say where predictions are of other rows, or in another order."""
    again = pa.table({"row_id": pa.array(uids, rows["row_id"].type)})
    yield from column_differences(rows.select(["row_id"]), again, where)
