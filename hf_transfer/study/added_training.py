"""Train the folds of a run again with other rows in every training part.

Settings, seeds, folds and held-out rows are the run's own; rows to stop by and to choose a penalty by are
of its own data too.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from datasets import Dataset, concatenate_datasets

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.machine.progress import own_bars
from hf_transfer.replay.encoding import encode_rows
from hf_transfer.replay.replayed import Replay
from hf_transfer.study.experiment import RowNumbers
from hf_transfer.study.fold_runner import FoldRunner
from hf_transfer.training.heads.template import Rows


class AddedRunner(FoldRunner):
    """Runs the folds of an experiment with other rows beside those of every training part.

    Args:
        runner: Of the run's folds.
        rows: The others, labelled as the run's.
        fingerprint: Of their content.
    """

    def __init__(self, runner: FoldRunner, rows: Dataset, fingerprint: str) -> None:
        super().__init__(runner.experiment, runner.accelerator, runner.folder, self._with_added)
        self._own, self._added, self._fingerprint = runner, rows, fingerprint

    @property
    def row_names(self) -> list[Any]:
        """Ids of the run's rows, then those of the others."""
        return [*self.experiment.uids, *self._added["row_id"]]

    def _with_added(self) -> Replay:
        experiment, own = self.experiment, self._own.replay
        encoded = encode_rows(experiment.task, self._added, self._fingerprint, self.accelerator)
        numbers = [row + len(experiment.uids) for row in encoded["row"]]
        column = Dataset.from_dict({"row": numbers}, features=encoded.select_columns(["row"]).features)
        with own_bars():
            moved = concatenate_datasets([encoded.remove_columns(["row"]), column], axis=1)
            both = concatenate_datasets([own.encoded, moved.select_columns(own.encoded.column_names)])
        return Replay(experiment.task, both, experiment.config, self.accelerator, own.grid)

    def _rows(self, rows: RowNumbers, seed: int, config: RunConfig) -> Rows:
        """The run's own parts, with all other rows in each part to learn from."""
        parts = super()._rows(rows, seed, config)
        start = len(self.experiment.uids)
        new = self.replay.plain.positions_of(np.arange(start, start + len(self._added)))
        splits = [(np.concatenate([learn, new]), check) for learn, check in parts.splits]
        return replace(parts, train=np.concatenate([parts.train, new]), splits=splits)
