"""Score models between both ends of a run's final model on other rows, beside what the folds score."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.folds.columns import read_ranks
from hf_transfer.replay.batching import Batches
from hf_transfer.replay.encoding import encode_values
from hf_transfer.runs.scored_record import SharePoint
from hf_transfer.runs.wise import AVERAGED, FOLDERS
from hf_transfer.scores.over_folds import sampling_units
from hf_transfer.scores.statistics import bootstrap_interval
from hf_transfer.study.final.ends import BetweenEnds
from hf_transfer.study.final.trained import TrainedModel
from hf_transfer.study.fold_scorer import listed
from hf_transfer.tasks.targets.target import Target
from hf_transfer.training.predicting import predict
from hf_transfer.training.workers import Workers, make_accelerator

if TYPE_CHECKING:
    from datasets import Dataset


def predicted_rows(rows: "Dataset", outputs: Sequence[NDArray[Any]], target: Target) -> pa.Table:
    """Decode outputs into a table with the columns of predictions.parquet."""
    columns: dict[str, Any] = {
        "row_id": rows["row_id"][:],
        "repeat": pa.array([0] * len(rows), pa.int32()),
        "fold": pa.array([0] * len(rows), pa.int32()),
    }
    columns |= {name: listed(values) for name, values in target.columns(rows, outputs).items()}
    if "group" in rows.column_names:
        columns["unit"] = read_ranks(rows["group"][:], "groups")  # as published: nobody's name
    return pa.table(columns)


class SharesScored:
    """Scores each share of the fine-tuned weights of a run's final model, by the primary metric.

    Args:
        model: The run's.

    Raises:
        ConfigError: If the run does not keep both ends.
    """

    def __init__(self, model: TrainedModel) -> None:
        self.results, self.workers = (
            model.results,
            Workers(make_accelerator(model.task.settings), together=False),
        )
        self.between = BetweenEnds(model, self.workers.accelerator.device)
        self.published = self.between.share
        self.target = model.task.target.deciding(())  # the folds' scores know no cut points either

    @property
    def notes(self) -> list[str]:
        """What to know of the curve."""
        return ["The curve is of outputs as they come, without cut points."] if self.results.cuts else []

    def score(self, rows: "Dataset") -> tuple[list[SharePoint], pa.Table]:
        """Score every share on some rows; gives the predictions too, with a column of shares."""
        task = self.between.task
        batches = Batches(task, encode_values(task, rows["input"][:]), self.workers.accelerator.device)
        points, tables = [], []
        for share in sorted({*FOLDERS, self.published}):
            table = predicted_rows(rows, self._outputs(share, batches, len(rows)), self.target)
            points.append(self._point(share, table))
            tables.append(table.append_column("share", pa.array([share] * table.num_rows)))
        return points, pa.concat_tables(tables)

    def _outputs(self, share: float, batches: Batches, num_rows: int) -> list[NDArray[Any]]:
        learner = batches.learner(self.between.at(share))
        everything = np.arange(len(batches.encoded))
        found = predict(learner, batches, everything, self.workers, f"Scoring share {share:g}")
        nothing = np.zeros(
            (0, len(self.between.task.label_names)), np.float32
        )  # for a sentence without words
        return [found.get(row, nothing) for row in range(num_rows)]

    def _point(self, share: float, table: pa.Table) -> SharePoint:
        scorer, seed = self.target.scorer, self.results.config.seed
        metric, (_, units) = scorer.primary_metric, sampling_units(table, scorer)
        drawn = scorer.resampler(table)
        intervals = bootstrap_interval(drawn, np.zeros(table.num_rows), units=units, seed=seed)
        value = scorer.score(table)[metric]
        return SharePoint(share, value, intervals.get(metric), self._by_folds(share), share == self.published)

    def _by_folds(self, share: float) -> float | None:
        """Mean of the run's folds at a share, which may be the one that was given to it."""
        wise, everywhere = self.results.wise, {fold.wise.share for fold in self.results.done if fold.wise}
        if wise is None:
            return None
        known = wise.means[AVERAGED] if everywhere == {share} else wise.curve.get(f"{share:g}")
        return known.mean if known else None
