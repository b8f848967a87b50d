"""The closed-form probe: a linear model on the stored pretrained features.

It is solved and scored under the folds of the run, so that it says what a trained head could have
reached. Where frozen layers are replayed it costs seconds; elsewhere it is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import LayerSelectionError
from hf_transfer.layers.output import output_layer
from hf_transfer.machine.devices import placed
from hf_transfer.machine.digests import bytes_digest
from hf_transfer.scores.transferability.ridge import Ridge, rows_of
from hf_transfer.study.experiment import RowNumbers, Unit
from hf_transfer.tasks.targets.target import Target
from hf_transfer.training.predicting import Logits, predict
from hf_transfer.training.workers import Workers

if TYPE_CHECKING:
    from hf_transfer.study.fold_runner import FoldRunner

_MOST_NUMBERS = 5e7  # in the table of features; in double precision, twice, it takes 0.8 GB


def run_probe(runner: "FoldRunner", config: RunConfig, units: Mapping[str | None, Sequence[Unit]]) -> bool:
    """Solve and score the probe of some folds, in their folders; all processes must call this.

    Args:
        runner: Of the run's folds.
        config: Whose stored features.
        units: The folds, by the part of an input whose features alone are used; None for all features.

    Returns:
        Whether there is one: not without stored features, or where the top of the pretrained model starts
        anew.
    """
    if config.reinit_top:
        return False
    each = [(part, unit) for part, some in units.items() for unit in some]
    done = all(runner.finished(unit) for _, unit in each)
    runner.accelerator.wait_for_everyone()  # all have looked before anyone writes
    if done:
        return True
    runner.replay.prepare()
    if runner.accelerator.is_main_process:  # so quick that sharing it gains nothing
        table = _features(runner, config)
        for part, unit in each if table else ():
            _keep(runner, table.only(part), unit)  # type: ignore[union-attr]
    runner.accelerator.wait_for_everyone()
    return all(runner.finished(unit) for _, unit in each)


@dataclass(frozen=True, eq=False)
class _Features:
    """Inputs of the pretrained model's output layer for all rows, with labels.

    Attributes:
        values: A line for each row, or for each word of all rows, (m, d).
        labels: Of each line, (m, …).
        row_of: Row number of each line, (m,), from the first row to the last.
        target: What they are.
        columns: Of the values, those of each part of an input alone.
    """

    values: NDArray[np.float32]
    labels: NDArray[Any]
    row_of: NDArray[np.int64]
    target: Target
    columns: Mapping[str, Sequence[int]]

    def only(self, part: str | None) -> "_Features":
        """The same with the values of one part of an input; with all for None."""
        return self if part is None else replace(self, values=self.values[:, self.columns[part]])

    def solved(self, train_rows: RowNumbers, valid_rows: RowNumbers) -> tuple[Logits, str]:
        """Fit ridge regression on training rows; return the other rows' decisions, and the model's digest."""
        train, valid = (np.flatnonzero(np.isin(self.row_of, rows)) for rows in (train_rows, valid_rows))
        ridge = Ridge(self.values[train])
        fits = ridge.fit(rows_of(self.labels[train][None], len(self.target.label_names)))
        decided = ridge.decisions(fits, self.values[valid], balanced=False)[:, :, 0]
        decisions = self.target.as_outputs(decided)
        rows, starts = np.unique(self.row_of[valid], return_index=True)
        lines = dict(zip(rows.tolist(), np.split(decisions, starts[1:]), strict=True))
        return lines, bytes_digest(fits.weights.tobytes())


def _features(runner: "FoldRunner", config: RunConfig) -> _Features | None:
    """Features of all rows from stored ones; None if nothing is stored."""
    torch.manual_seed(config.seed)
    task = runner.experiment.task
    model = placed(task.build_model(), runner.accelerator.device)
    target, labels = task.target, runner.experiment.data.rows["label"][:]
    lengths = target.num_items(labels)
    batches = runner.replay.stored(model, config)
    try:
        name, layer = output_layer(model)
    except LayerSelectionError:
        return None
    if batches is None or lengths.sum() * layer.in_features > _MOST_NUMBERS:
        return None
    columns: Any = getattr(model, "columns_alone", {})
    model.set_submodule(name, nn.Identity())
    alone = Workers(runner.accelerator, together=False)
    features = predict(batches.learner(model), batches, np.arange(len(batches.encoded)), alone)
    values = np.concatenate([features[row] for row in range(len(labels))])
    if not np.isfinite(values).all():
        return None
    row_of = np.repeat(np.arange(len(labels)), lengths)
    return _Features(values, target.of_items(labels), row_of, target, columns)


def _keep(runner: "FoldRunner", table: _Features, unit: Unit) -> None:
    """Solve one fold, score its held-out rows, and write its folder."""
    experiment, scorer = runner.experiment, runner.scorer
    held_out, valid_rows = scorer.held_out(unit), experiment.valid_rows(unit)
    logits, weights = table.solved(experiment.train_rows(unit), valid_rows)
    rows = held_out.read(lambda rows: scorer.table(logits, rows, unit.repeat, unit.fold), weights)
    scores = experiment.task.target.scorer.score(rows)
    result = replace(scorer.unscored(unit), scores=scores, readings=held_out.readings)
    runner.folder.keep(unit.place, result, runner.experiment.identity(unit.config), [], rows)
