"""The closed-form probe: a linear model on the stored pretrained features.

It is solved and scored under the folds of the run, so that it says what a trained head could have
reached, and under other folds of the same rows, so that it says what the folds are worth. Its penalty is
chosen by the folds that it learns from, as related rows would make it too weak or too strong. Where frozen
layers are replayed it costs seconds; elsewhere it is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import LayerSelectionError
from hf_transfer.layers.output import output_layer
from hf_transfer.machine.devices import placed
from hf_transfer.machine.digests import bytes_digest
from hf_transfer.machine.processes import wait_for_all
from hf_transfer.replay.batching import Batches
from hf_transfer.scores.columns import fit_columns, scale_columns
from hf_transfer.scores.transferability.probe import Floats
from hf_transfer.scores.transferability.ridge import Ridge, rows_of
from hf_transfer.tasks.targets.target import Target
from hf_transfer.training.predicting import Logits, predict
from hf_transfer.training.workers import Workers

if TYPE_CHECKING:
    from hf_transfer.study.experiment import RowNumbers, Unit
    from hf_transfer.study.fold_runner import FoldRunner

_MOST_NUMBERS = 5e7  # in the table of features; in double precision, twice, it takes 0.8 GB


@dataclass(frozen=True, eq=False)
class Features:
    """Inputs of the pretrained model's output layer for all rows, with labels.

    Attributes:
        values: A line for each row, or for each word of all rows, (m, d).
        labels: Of each line, (m, …).
        row_of: Row number of each line, (m,), from the first row to the last.
        num_rows: Of the data.
        target: What the labels are.
        columns: Of the values, those of each part of an input alone.
        lacking: Of the last values, those of a table; see `Task.lacking`.
    """

    values: NDArray[np.float32]
    labels: NDArray[Any]
    row_of: NDArray[np.int64]
    num_rows: int
    target: Target
    columns: Mapping[str, Sequence[int]]
    lacking: Sequence[int] = ()

    def only(self, part: str | None) -> "Features":
        """The same with the values of one part of an input; with all for None."""
        if part is None:
            return self
        columns = self.columns[part]
        tabled = columns[-1] == self.values.shape[1] - 1
        return replace(self, values=self.values[:, columns], lacking=self.lacking if tabled else ())

    def with_rows(self, other: "Features") -> "Features":
        """The same with other rows after these."""
        return replace(
            self,
            values=np.concatenate([self.values, other.values]),
            labels=np.concatenate([self.labels, other.labels]),
            row_of=np.concatenate([self.row_of, other.row_of + self.num_rows]),
            num_rows=self.num_rows + other.num_rows,
        )

    def solved(
        self, train_rows: "RowNumbers", valid_rows: "RowNumbers", folds: NDArray[np.int64]
    ) -> tuple[Logits, str]:
        """Fit ridge regression on training rows; return the other rows' decisions, and the model's digest.

        Args:
            train_rows: To learn from.
            valid_rows: To decide.
            folds: The fold of each row of the data, (n,); the penalty is chosen by the other folds.
        """
        train, valid = self._lines(train_rows), self._lines(valid_rows)
        decided, weights = self._decided(train, valid, folds[self.row_of[train]])
        decisions = self.target.as_outputs(decided)
        rows, starts = np.unique(self.row_of[valid], return_index=True)
        lines = dict(zip(rows.tolist(), np.split(decisions, starts[1:]), strict=True))
        return lines, weights

    def errors(self, halves: NDArray[np.int64]) -> Floats:
        """What the ridge regression of each half of the rows is off by on the other, a line for each row."""
        wanted = self._targets(np.arange(len(self.labels)))
        for half in (0, 1):
            train, valid = (self._lines(np.flatnonzero(halves == one)) for one in (1 - half, half))
            if len(train) > 1 and len(valid):
                wanted[valid] -= self._decided(train, valid)[0]
        return self.of_rows(wanted)

    def of_rows(self, lines: NDArray[Any]) -> Floats:
        """The mean of the lines of each row, (n, d); zeros for a row without any."""
        sizes = np.bincount(self.row_of, minlength=self.num_rows)
        sums = np.zeros((self.num_rows, lines.shape[1]))
        np.add.at(sums, self.row_of, lines)
        return np.asarray(sums / np.maximum(sizes, 1)[:, None])

    def _at_scale_of(self, train: NDArray[np.int64]) -> NDArray[np.floating]:
        """The values, with those of a table as they are learned from these lines."""
        if not self.lacking:
            return self.values
        start = self.values.shape[1] - len(self.lacking)
        table = self.values[:, start:].astype(np.float64)
        scaled = scale_columns(table, *fit_columns(table[train], self.lacking), list(self.lacking))
        return np.hstack([self.values[:, :start], scaled])

    def _lines(self, rows: "RowNumbers") -> NDArray[np.int64]:
        return np.flatnonzero(np.isin(self.row_of, rows))

    def _targets(self, lines: NDArray[np.int64]) -> Floats:
        return rows_of(self.labels[lines][None], len(self.target.label_names))[:, :, 0]

    def _decided(
        self, train: NDArray[np.int64], valid: NDArray[np.int64], parts: NDArray[np.int64] | None = None
    ) -> tuple[Floats, str]:
        values = self._at_scale_of(train)
        ridge = Ridge(values[train])
        fits = ridge.fit(self._targets(train)[:, :, None], parts)
        decided = ridge.decisions(fits, values[valid], balanced=False)[:, :, 0]
        return decided, bytes_digest(fits.weights.tobytes())


class Probing:
    """Scores linear models on the stored features of a configuration, which are made once.

    Args:
        runner: Of the run's folds.
        config: Whose stored features.
    """

    def __init__(self, runner: "FoldRunner", config: RunConfig) -> None:
        self.runner, self.config = runner, config

    def score(self, runner: "FoldRunner", units: "Sequence[Unit]", part: str | None = None) -> bool:
        """Solve and score the probe of some folds, in their folders; all processes must call this.

        Args:
            runner: Of an experiment with the same rows, whose folds these are.
            units: The folds.
            part: Of an input, whose features alone are used; all are when not given.

        Returns:
            Whether there is one: not without stored features, or where the top of the pretrained model
            starts anew.
        """
        if self.config.reinit_top or runner.workers.sharded:
            return False
        done = all(runner.finished(unit) for unit in units)
        wait_for_all(runner.accelerator)  # all have looked before anyone writes
        if done:
            return True
        self.runner.replay.prepare()
        if runner.accelerator.is_main_process:  # so quick that sharing it gains nothing
            for unit in units if self.features else ():
                plan = runner.experiment.plans[unit.repeat]
                rows = runner.experiment.train_rows(unit), runner.experiment.valid_rows(unit)
                outputs = self.features.only(part).solved(*rows, plan.fold_of_row())  # type: ignore[union-attr]
                runner.keep_outputs(unit, *outputs)
        wait_for_all(runner.accelerator)
        return all(runner.finished(unit) for unit in units)

    @cached_property
    def features(self) -> Features | None:
        """Features of all rows from stored ones, once those are prepared; None if nothing is stored."""
        if self.runner.workers.sharded:
            return None
        return _features(self.runner, self.config)


def _features(runner: "FoldRunner", config: RunConfig) -> Features | None:
    torch.manual_seed(config.seed)
    task = runner.experiment.task
    model = placed(task.build_model(), runner.accelerator.device)
    batches = runner.replay.stored(model, config)
    labels = runner.experiment.data.rows["label"][:]
    return None if batches is None else read_features(model, batches, labels, runner.accelerator)


def read_features(
    model: nn.Module, batches: Batches, labels: Sequence[Any], accelerator: Accelerator
) -> Features | None:
    """Features of all rows of some batches; None if the output layer is not linear, or there are too many.

    Args:
        model: Pretrained; its output layer is taken off.
        batches: Of the rows, for the model.
        labels: Of each row.
        accelerator: Where to run.
    """
    task, target = batches.task, batches.task.target
    lengths = target.num_items(labels)
    try:
        name, layer = output_layer(model)
    except LayerSelectionError:
        return None
    if lengths.sum() * layer.in_features > _MOST_NUMBERS:
        return None
    columns: Any = getattr(model, "columns_alone", {})
    model.set_submodule(name, nn.Identity())
    alone = Workers(accelerator, together=False)
    features = predict(batches.learner(model), batches, np.arange(len(batches.encoded)), alone)
    values = np.concatenate([features[row] for row in range(len(labels))])
    if not np.isfinite(values).all():
        return None
    row_of = np.repeat(np.arange(len(labels)), lengths)
    labels_of_items = target.of_items(labels)
    return Features(values, labels_of_items, row_of, len(labels), target, columns, task.lacking)
