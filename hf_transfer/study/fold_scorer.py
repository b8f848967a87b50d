"""Score a fold: its held-out rows once, and as many training rows to show overfitting."""

import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
import transformers

import hf_transfer
from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import RunError
from hf_transfer.folds import hash_order, ids_at
from hf_transfer.layers import trained_hash
from hf_transfer.machine.environment import device_name
from hf_transfer.machine.memory import noted
from hf_transfer.runs.fold_result import Environment, FoldResult
from hf_transfer.runs.held_out import HeldOut
from hf_transfer.runs.run_folder import TRAIN_ROWS, RunFolder
from hf_transfer.scores.evaluate_modules import hub_metric
from hf_transfer.scores.scorer import Scorer, Scores
from hf_transfer.training.job import Fitted
from hf_transfer.training.predicting import Logits, predict
from hf_transfer.training.workers import Workers

if TYPE_CHECKING:
    from datasets import Dataset

    from hf_transfer.study.experiment import Experiment, RowNumbers, Unit


def environment(device: torch.device) -> Environment:
    """What folds are trained with here."""
    return Environment(
        hf_transfer.__version__,
        platform.python_version(),
        torch.__version__,
        transformers.__version__,
        torch.get_num_threads(),
        device_name(device),
    )


class FoldScorer:
    """Scores models on the rows of one experiment.

    Args:
        experiment: Whose rows and metrics.
        folder: Where the predictions for training rows go.
    """

    def __init__(self, experiment: "Experiment", folder: RunFolder) -> None:
        self.experiment, self.folder = experiment, folder
        self._held_out: dict[str, HeldOut] = {}
        self._samples: dict[tuple[int, int, int], RowNumbers] = {}

    def score(self, unit: "Unit", fitted: Fitted, workers: Workers) -> tuple[FoldResult, pa.Table]:
        """Score held-out rows and as many training rows; gives the held-out predictions too.

        Raises:
            RunError: If frozen layers changed in training, or the held-out rows were scored before.
        """
        if fitted.hash_before != fitted.hash_after:
            raise RunError(
                f"Frozen layers changed in training: {fitted.hash_before} before, {fitted.hash_after} after."
            )
        held_out, weights = self.held_out(unit), trained_hash(fitted.model, fitted.freezing)
        repeat_and_fold = (unit.repeat, unit.fold)
        with noted(fitted.notes):
            table = held_out.read(
                lambda rows: self.predicted(fitted, rows, workers, *repeat_and_fold), weights=weights
            )
            seen = self.predicted(fitted, self._sample(unit), workers, *repeat_and_fold)
        if workers.rank == 0:
            self.folder.keep_rows(f"folds/{unit.place}/{TRAIN_ROWS}", seen)
        return self._result(unit, fitted, table, seen), table

    def _result(self, unit: "Unit", fitted: Fitted, table: pa.Table, seen: pa.Table) -> FoldResult:
        return replace(
            self.unscored(unit),
            scores=self.scores(table),
            train_scores=self.experiment.task.target.scorer.score(seen),
            train_rows_scored=len(self._sample(unit)),
            num_epochs=fitted.best_epoch,
            parameters=fitted.parameters,
            frozen_hash_before=fitted.hash_before,
            frozen_hash_after=fitted.hash_after,
            readings=self.held_out(unit).readings,
            start_hash=fitted.start_hash,
            weight_decay=fitted.strength,
            wise=fitted.wise,
            notes=fitted.notes,
            environment=environment(next(fitted.model.parameters()).device),
        )

    def unscored(self, unit: "Unit") -> FoldResult:
        """Result of a fold with its sizes only, before it is scored."""
        train, valid = self.experiment.train_rows(unit), self.experiment.valid_rows(unit)
        return FoldResult(unit.repeat, unit.fold, len(train), len(valid), unit.seed)

    def held_out(self, unit: "Unit") -> HeldOut:
        """Held-out rows of a fold; the same object each time, so that they are read once."""
        rows = self.experiment.valid_rows(unit)
        return self._held_out.setdefault(unit.place, HeldOut(rows, unit.place, unit.purpose))

    def _sample(self, unit: "Unit") -> "RowNumbers":
        """Draw as many training rows as there are held-out rows: enough to see overfitting.

        They are the same for every configuration, and drawn once.
        """
        key = (unit.repeat, unit.fold, unit.percent)
        if key not in self._samples:
            train = self.experiment.train_rows(unit)
            order = hash_order(ids_at(self.experiment.uids, train), unit.seed)
            self._samples[key] = np.sort(train[order[: len(self.experiment.valid_rows(unit))]])
        return self._samples[key]

    def predicted(
        self, fitted: Fitted, rows: "RowNumbers", workers: Workers, repeat: int = 0, fold: int = 0
    ) -> pa.Table:
        """Predict some rows, as a table with the columns of predictions.parquet."""
        logits = predict(fitted.learner, fitted.batches, fitted.batches.positions_of(rows), workers)
        return self.table(logits, rows, repeat, fold)

    def table(self, logits: Logits, rows: "RowNumbers", repeat: int = 0, fold: int = 0) -> pa.Table:
        """Decode the logits of some rows into a table with the columns of predictions.parquet."""
        columns = {
            "row_id": ids_at(self.experiment.uids, rows),
            "repeat": pa.array([repeat] * len(rows), pa.int32()),
            "fold": pa.array([fold] * len(rows), pa.int32()),
        }
        chosen, target = self._rows_at(rows.tobytes()), self.experiment.task.target
        predicted = target.columns(chosen, [logits[row] for row in rows.tolist()])
        columns |= {name: listed(values) for name, values in predicted.items()}
        if self.experiment.coded.groups is not None:
            columns["unit"] = np.asarray(self.experiment.coded.groups)[rows]
        return pa.table(columns)

    @cached_property
    def _rows_at(self) -> Callable[[bytes], "Dataset"]:
        """Rows by their numbers as bytes, cached: every configuration predicts the same."""
        rows, config = self.experiment.data.rows, self.experiment.config
        keep = lru_cache(2 * config.num_folds * config.num_repeats)
        return keep(lambda numbers: rows.select(np.frombuffer(numbers, np.int64)))

    def scores(self, table: pa.Table) -> Scores:
        """Compute the task's metrics, and metrics of the Hub named in the settings."""
        return metrics_of(table, self.experiment.task.target.scorer, self.experiment.config.metrics)


def metrics_of(table: pa.Table, scorer: Scorer, hub_metrics: Sequence[str]) -> Scores:
    """Compute the scores of a table of predictions, and metrics of the Hub."""
    scores = scorer.score(table)
    for name in hub_metrics:
        computed = hub_metric(name).compute(
            predictions=table["prediction"].to_pylist(), references=table["label"].to_pylist()
        )
        scores |= {key: float(value) for key, value in computed.items()}
    return scores


def listed(values: Any) -> Any:
    """Convert a matrix to a column of lists in double precision; other columns stay."""
    if not isinstance(values, np.ndarray) or values.ndim != 2:
        return values
    starts = pa.array(np.arange(len(values) + 1) * values.shape[1], pa.int32())
    return pa.ListArray.from_arrays(starts, pa.array(values.ravel().astype(np.float64)))
