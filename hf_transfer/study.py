"""One configuration on one data set: the folds, each a pure function with its own folder."""

import hashlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from accelerate import Accelerator
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config import RunConfig
from hf_transfer.data import LabelledData
from hf_transfer.encoding import encode_rows, encoded_positions
from hf_transfer.errors import RunError
from hf_transfer.folds import (
    FoldColumns,
    FoldPlan,
    derive_seed,
    hash_order,
    inner_split,
    plan_folds,
)
from hf_transfer.metrics import hub_metric
from hf_transfer.replay import Replay
from hf_transfer.results import FoldResult, Scores
from hf_transfer.run_folder import RunFolder
from hf_transfer.scoring import predict
from hf_transfer.tasks.base import Task
from hf_transfer.tracking import FoldTracker
from hf_transfer.training import Fitted, Job, fit
from hf_transfer.workers import Workers, fold_parallel

if TYPE_CHECKING:
    from datasets import Dataset

_FEWEST_TO_STOP_EARLY = 300  # below, an inner split is so small that it picks noise

Rows = NDArray[np.int64]


def fold_columns(task: Task, data: LabelledData, config: RunConfig) -> FoldColumns:
    """What the rows of a data set are split by: labels or mentions, and groups, times or given folds."""
    rows = data.rows
    present = {
        field: rows[column][:]
        for field, column in (("groups", "group"), ("times", "time"), ("folds", "fold"))
        if column in rows.column_names
    }
    return replace(task.fold_columns(rows), gap=config.gap, **present)


@dataclass(frozen=True)
class Study:
    """One configuration on one data set: its folds, its encoded rows, its processes."""

    task: Task
    data: LabelledData
    config: RunConfig
    accelerator: Accelerator
    folder: RunFolder

    @cached_property
    def columns(self) -> FoldColumns:
        """What the folds are made from."""
        return fold_columns(self.task, self.data, self.config)

    @cached_property
    def uids(self) -> list[Any]:
        """What identifies each row, wherever it stands."""
        return list(self.data.rows["row_id"])

    @cached_property
    def plans(self) -> tuple[FoldPlan, ...]:
        """The folds of each repeat."""
        return tuple(
            plan_folds(
                self.uids,
                self.config.num_folds,
                seed=self.config.seed if repeat == 0 else derive_seed(self.config.seed, "repeat", repeat),
                columns=self.columns,
                scheme=self.config.scheme,
                strict=self.config.strict,
            )
            for repeat in range(self.config.num_repeats)
        )

    @cached_property
    def units(self) -> list[tuple[int, int]]:
        """All (repeat, fold)."""
        return [(repeat, fold) for repeat, plan in enumerate(self.plans) for fold in plan.scored_folds]

    @cached_property
    def workers(self) -> Workers:
        """Processes on folds of their own, or together."""
        alone = fold_parallel(self.config, self.accelerator, len(self.units))
        return Workers(self.accelerator, together=not alone)

    @cached_property
    def encoded(self) -> "Dataset":
        """Model inputs of all rows."""
        return encode_rows(self.task, self.data.rows, self.data.fingerprint, self.accelerator)

    @cached_property
    def replay(self) -> Replay:
        """Batches of all rows, from stored output of the frozen layers once that is prepared."""
        return Replay(self.task, self.encoded, self.config, self.accelerator)

    @cached_property
    def row_of(self) -> Rows:
        """Which row each encoded row comes from."""
        return np.asarray(self.encoded["row"][:], np.int64)

    @cached_property
    def identity(self) -> str:
        """Digest of all that decides a fold's result."""
        parts = [self.config.scored(), self.data.fingerprint, self.task.base.revision, self.task.label_names]
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()

    def my_units(self) -> Iterator[tuple[int, int]]:
        """The folds that this process takes, without those already done."""
        mine = (
            self.units
            if self.workers.together
            else self.units[self.accelerator.process_index :: self.accelerator.num_processes]
        )
        for repeat, fold in mine:
            if self.folder.finished(repeat, fold, self.identity) is None:
                yield repeat, fold

    def run_fold(self, repeat: int, fold: int) -> FoldResult:
        """Train on the other shards, score the held-out one once, and write it down."""
        plan = self.plans[repeat]
        train, valid = plan.train(fold), plan.valid(fold)
        result = FoldResult(
            repeat, fold, len(train), len(valid), derive_seed(self.config.seed, "fold", repeat, fold)
        )
        began = time.monotonic()
        tracker = FoldTracker(self.config, f"r{repeat}f{fold}") if self.workers.rank == 0 else None
        try:
            fitted = self.fit(train, result.seed, f"repeat {repeat + 1}, fold {fold + 1}", tracker=tracker)
            table = self.table(fitted, valid, repeat, fold)
            result = self._scored(result, fitted, table, train)
            history = fitted.history
        except (RunError, RuntimeError, ArithmeticError, MemoryError) as error:
            result, table, history = (
                replace(result, status="failed", error=f"{type(error).__name__}: {error}"),
                None,
                [],
            )
        result = replace(result, seconds=time.monotonic() - began)
        if self.workers.rank == 0:
            self.folder.keep(result, self.identity, history, table)
            self._say(result)
            if tracker:
                tracker.finish(result.scores)
        return result

    def of_test_rows(self) -> "Study | None":
        """The same task and processes on the untouched rows, if there are any."""
        rows = self.data.test
        if rows is None:
            return None
        fingerprint = f"test of {self.data.fingerprint}"
        return replace(self, data=replace(self.data, rows=rows, test=None, fingerprint=fingerprint))

    def score_all(self, fitted: Fitted) -> dict[str, Any]:
        """Score a model on all rows of this study, which it has not learned from."""
        rows = np.arange(len(self.uids))
        here = replace(fitted, batches=self.replay.plain)
        return {"num_rows": len(rows), "scores": self.scores(self.table(here, rows, 0, 0))}

    def fit(
        self,
        rows: Rows,
        seed: int,
        title: str,
        *,
        tracker: FoldTracker | None = None,
        config: RunConfig | None = None,
    ) -> Fitted:
        """Train a fresh model on some rows, with an inner split for early stopping when asked."""
        config = config or self.config
        learn, inner = rows, None
        if config.early_stopping and len(rows) >= _FEWEST_TO_STOP_EARLY:
            learn, stop = inner_split(
                rows, self.uids, seed=seed, columns=self.columns, scheme=self.config.scheme
            )
            inner = encoded_positions(self.row_of, stop)
        report = tracker.epoch if tracker else None
        job = Job(self.task, self.replay, config, seed, self.workers, title, report)
        fitted = fit(job, encoded_positions(self.row_of, learn), inner)
        if fitted.hash_before != fitted.hash_after:
            raise RunError(
                f"Frozen layers changed in training: {fitted.hash_before} before, {fitted.hash_after} after."
            )
        return fitted

    def table(self, fitted: Fitted, rows: Rows, repeat: int, fold: int) -> pa.Table:
        """Predictions for some rows, as the columns of predictions.parquet."""
        positions = encoded_positions(self.row_of, rows)
        decoded = predict(fitted.learner, fitted.batches, positions, self.workers)
        columns = {
            "row_id": [self.uids[row] for row in rows],
            "repeat": pa.array([repeat] * len(rows), pa.int32()),
            "fold": pa.array([fold] * len(rows), pa.int32()),
        } | self.task.columns(self.data.rows.select(rows), [decoded[row] for row in rows.tolist()])
        if self.columns.groups is not None:
            columns["unit"] = np.unique(np.asarray(self.columns.groups), return_inverse=True)[1][rows]
        return pa.table(columns)

    def _scored(self, result: FoldResult, fitted: Fitted, table: pa.Table, train: Rows) -> FoldResult:
        # As many training rows as held-out ones: enough to see overfitting, at little cost.
        order = hash_order([self.uids[row] for row in train], result.seed)
        sample = np.sort(train[order[: result.num_valid]])
        return replace(
            result,
            scores=self.scores(table),
            train_scores=self.task.scorer.score(self.table(fitted, sample, result.repeat, result.fold)),
            train_rows_scored=len(sample),
            num_epochs=fitted.best_epoch,
            frozen_hash_before=fitted.hash_before,
            frozen_hash_after=fitted.hash_after,
        )

    def scores(self, table: pa.Table) -> Scores:
        """The task's scores, and those of the Hub that were asked for by name."""
        scores = self.task.scorer.score(table)
        for name in self.config.metrics:
            found = hub_metric(name).compute(
                predictions=table["prediction"].to_pylist(), references=table["label"].to_pylist()
            )
            scores |= {key: float(value) for key, value in found.items()}
        return scores

    def results(self) -> list[FoldResult]:
        """What is in the folds' folders, of whichever process."""
        found = []
        for repeat, fold in self.units:
            done = self.folder.finished(repeat, fold, self.identity)
            found.append(done or self.folder.failed(repeat, fold))
        if all(result.status == "failed" for result in found):
            raise RunError(f"Every fold failed. The first: {found[0].error}")
        return found

    def predictions(self, results: Sequence[FoldResult]) -> pa.Table:
        """All out-of-fold rows."""
        paths = [
            self.folder.unit(r.repeat, r.fold) / "predictions.parquet" for r in results if r.status == "done"
        ]
        return pa.concat_tables([pq.read_table(path) for path in paths])

    def fold_table(self) -> pa.Table:
        """The split, exactly: row id, repeat, fold."""
        of_row = np.concatenate([plan.fold_of_row() for plan in self.plans])
        repeats = np.repeat(np.arange(len(self.plans), dtype=np.int32), len(self.uids))
        return pa.table(
            {"row_id": self.uids * len(self.plans), "repeat": repeats, "fold": of_row.astype(np.int32)}
        )

    def _say(self, result: FoldResult) -> None:
        name = self.task.scorer.primary_metric
        value = result.scores.get(name)
        found = f"{name} {value:.3f}" if value is not None else result.error or f"{name} undefined"
        repeat = f"repeat {result.repeat + 1}, " if self.config.num_repeats > 1 else ""
        print(f"{repeat}fold {result.fold + 1}: {found} ({result.seconds:.1f} s)", file=sys.stderr)
