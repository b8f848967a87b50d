"""Test rows and sealed rows, which score the model to publish."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from accelerate import Accelerator
from torch import nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.data.labelled import fingerprint
from hf_transfer.replay.batching import Batches
from hf_transfer.replay.encoding import encode_rows
from hf_transfer.runs.final_record import RowScores
from hf_transfer.runs.run_folder import RunFolder
from hf_transfer.scores.cut_points import cut_scores
from hf_transfer.scores.cutting import Cut
from hf_transfer.study.experiment import Experiment
from hf_transfer.study.fold_scorer import FoldScorer
from hf_transfer.training.predicting import Logits, predict
from hf_transfer.training.workers import Workers


class UntrainedRows:
    """Rows that are in no fold, encoded when first needed.

    Args:
        experiment: On the rows of the folds.
        accelerator: Where to run.
        folder: Where the predictions go.
        name: Of the rows, which names their predictions.
        rows: Columns `row_id`, `input` and `label`.
    """

    def __init__(
        self, experiment: Experiment, accelerator: Accelerator, folder: RunFolder, name: str, rows: Any
    ) -> None:
        data = experiment.data
        known = fingerprint(rows, data.input, data.label_names)
        self.data = replace(data, rows=rows, test=None, sealed=None, fingerprint=known)
        self.task, self.accelerator, self.folder, self.name = experiment.task, accelerator, folder, name
        self._scorer = FoldScorer(replace(experiment, data=self.data), folder)

    @cached_property
    def batches(self) -> Batches:
        """Batches of the rows; all processes must ask for them."""
        encoded = encode_rows(self.task, self.data.rows, self.data.fingerprint, self.accelerator)
        return Batches(self.task, encoded, self.accelerator.device)

    def logits(self, model: nn.Module, workers: Workers) -> Logits:
        """Predict all rows; gives logits by row number."""
        positions = np.arange(len(self.batches.encoded))
        return predict(self.batches.learner(model), self.batches, positions, workers)

    def score(self, logits: Logits, points: Sequence[Cut], *, keep: bool = False) -> RowScores:
        """Score logits of all rows, also with the published cut points; store the predictions if asked."""
        table = self._scorer.table(logits, np.arange(len(self.data.rows)))
        if keep:
            self.folder.keep_rows(f"{self.name}_predictions.parquet", table)
        cut = cut_scores(table, self.task.target.scorer, points)
        return RowScores(table.num_rows, self._scorer.scores(table), cut)
