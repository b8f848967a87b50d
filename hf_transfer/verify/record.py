"""A run's files, and the same values recomputed from split and predictions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import GRID_SETTINGS, RunConfig, differing
from hf_transfer.errors import VerificationError
from hf_transfer.folds import (
    FoldColumns,
    FoldPlan,
    RowIds,
    fold_seed,
    ids_at,
    plan_repeats,
    read_fold_table,
    rows_aside,
)
from hf_transfer.machine.files import load_table
from hf_transfer.runs.aggregate import FoldResults
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.records import Results, Tried
from hf_transfer.runs.run_folder import fold_place, place_of
from hf_transfer.scores.scorer import Scorer, Scores
from hf_transfer.tasks import target_of_run
from hf_transfer.tasks.targets.target import Target
from hf_transfer.verify.check import rows_of


@dataclass(frozen=True)
class Record:
    """What a run's folder, or a repository, holds.

    Attributes:
        folder: Where the files are.
        results: What results.json holds.
        remote: SHA-256 of files that are on the Hub and were not fetched, by name.
        names_there: Of all files of a repository, fetched or not.
    """

    folder: Path
    results: Results
    remote: Mapping[str, str] = field(default_factory=dict)
    names_there: Sequence[str] = ()

    def problems(self) -> Iterator[str]:
        """Name the tables that are empty; opening what cannot be read raises an error."""
        _ = self.scorer, self.best, self.entries
        for name, table in (("predictions.parquet", self.predictions), ("folds.parquet", self.fold_table)):
            if not table.num_rows:
                yield f"{name}: has no rows"

    @property
    def config(self) -> RunConfig:
        """The settings of the reported configuration, with the lists that it was chosen from."""
        return self.results.config

    @cached_property
    def label_names(self) -> tuple[str, ...]:
        """In the order of their ids."""
        return tuple(self.results.label_names)

    @cached_property
    def target(self) -> Target:
        """What the labels are."""
        results = self.results
        return target_of_run(
            results.task, results.label_names, results.target, self.config, input=results.input
        )

    @cached_property
    def scorer(self) -> Scorer:
        """What makes scores from predictions."""
        return self.target.scorer.headed_by(self.config.metric_for_best_model)

    @cached_property
    def predictions(self) -> pa.Table:
        """All out-of-fold rows of the reported configuration."""
        return self._table("predictions.parquet")

    @cached_property
    def fold_table(self) -> pa.Table:
        """The split as it is stored."""
        return self._table("folds.parquet")

    def _table(self, name: str) -> pa.Table:
        path = self.folder / name
        if not path.is_file():
            raise VerificationError(
                f"{path.absolute()} is not there, and all numbers follow from it. Give the whole folder."
            )
        try:
            return load_table(path)
        except (pa.ArrowException, OSError) as error:
            raise VerificationError(
                f"{path.absolute()} cannot be read as Parquet: {error}. Get the file again."
            ) from error

    @cached_property
    def split(self) -> tuple[RowIds, FoldColumns]:
        """The ids of the rows, and what they were split by."""
        return read_fold_table(self.fold_table, self.label_names, self.config.gap)

    def row_labels(self) -> list[Any]:
        """The label of each row, from the split; where that has bins or counts, from the predictions.

        None for a row that then no fold has scored.
        """
        uids, columns = self.split
        if columns.labels is not None and not self.target.scales:
            return list(np.asarray(columns.labels).tolist())
        rows = self.predictions
        labels = dict(zip(rows["row_id"].to_pylist(), self.target.read_back(rows), strict=True))
        return [labels.get(uid) for uid in ids_at(uids, np.arange(len(uids)))]

    @cached_property
    def plans(self) -> tuple[FoldPlan, ...]:
        """The folds of each repeat, made again from the settings."""
        return plan_repeats(*self.split, self.config, aside=rows_aside(self.fold_table))

    @property
    def names(self) -> list[tuple[int, int]]:
        """Each fold that is held out, as (repeat, fold), in order."""
        return [(repeat, fold) for repeat, plan in enumerate(self.plans) for fold in plan.scored_folds]

    @cached_property
    def entries(self) -> dict[RunConfig, list[FoldResult]]:
        """The folds of each configuration as they are written."""
        grid = self.results.grid
        if grid is None:
            return {self.config: self.results.folds}
        # The lists say what was tried, and belong to none of the configurations.
        alone = self.config.changed({f"{name}s": () for name in GRID_SETTINGS})
        written = {alone.changed(self._settings(entry)): entry.folds for entry in grid}
        if len(written) != len(grid):
            raise VerificationError(f"grid: written {len(grid)} configurations, {len(written)} differ")
        # What was left to the kit may differ with what learns, so that only what is listed is compared.
        listed = [name for name in GRID_SETTINGS if getattr(self.config, f"{name}s")]
        made, lists = (
            {tuple(getattr(config, name) for name in listed) for config in configs}
            for configs in (written, self.config.grid())
        )
        if listed and (made != lists or len(written) != len(lists)):
            raise VerificationError(
                f"grid: written {len(grid)} configurations, the settings make {len(lists)} others"
            )
        return written

    @staticmethod
    def _settings(entry: Tried) -> dict[str, Any]:
        names = {f.name for f in fields(RunConfig)}
        return {name: value for name, value in entry.settings.items() if name in names}

    @cached_property
    def best(self) -> RunConfig:
        """The configuration that the results say they report."""
        if self.results.grid is None:
            return self.config
        alone = self.config.changed({f"{name}s": () for name in GRID_SETTINGS})
        if alone not in self.entries:
            names = differing([*self.entries, alone])
            values = ", ".join(str(getattr(alone, name)) for name in names)
            raise VerificationError(f"config: {' and '.join(names)} ({values}) are not of the grid")
        return alone

    def unit(self, config: RunConfig, repeat: int, fold: int) -> Path:
        """The folder of one fold; a repository has none."""
        inside = place_of(config, list(self.entries))
        return self.folder / "folds" / fold_place(inside, repeat, fold)

    def stored(self, config: RunConfig, repeat: int, fold: int) -> pa.Table | None:
        """The predictions of a fold: of the reported configuration always, of others if they are there."""
        if config == self.best:
            return rows_of(self.predictions, repeat, fold)
        path = self.unit(config, repeat, fold) / "predictions.parquet"
        return load_table(path) if path.is_file() else None

    def predictions_of(self, config: RunConfig) -> pa.Table | None:
        """All out-of-fold rows of a configuration, if they are there."""
        if config == self.best:
            return self.predictions
        places = [(fold.repeat, fold.fold) for fold in self.entries[config] if fold.status == "done"]
        tables = [self.stored(config, *place) for place in places]
        there = [table for table in tables if table is not None]
        return pa.concat_tables(there) if len(there) == len(tables) else None

    @cached_property
    def fold_results(self) -> FoldResults:
        """The folds of each configuration, all that can be recomputed made again."""
        return {
            config: [self._again(config, fold) for fold in folds] for config, folds in self.entries.items()
        }

    def _again(self, config: RunConfig, fold: FoldResult) -> FoldResult:
        plan, seed = self.plans[fold.repeat], fold_seed(self.config.seed, fold.repeat, fold.fold)
        num_train, num_valid = len(plan.train(fold.fold)), len(plan.valid(fold.fold))
        sizes = replace(fold, num_train=num_train, num_valid=num_valid, seed=seed)
        if fold.status != "done":
            return replace(sizes, scores={})
        rows = self.stored(config, fold.repeat, fold.fold)
        scores = fold.scores if rows is None else self._scores(rows, fold.scores)
        return replace(sizes, scores=scores, train_rows_scored=min(num_train, num_valid))

    def _scores(self, rows: pa.Table, written: Scores) -> Scores:
        """The kit's own scores; those of a metric of the Hub are as they are written."""
        others = {name: value for name, value in written.items() if name in self.other_metrics(written)}
        return self.scorer.score(rows) | others

    def other_metrics(self, written: Scores) -> list[str]:
        """Names of scores that only code from the Hub could make again."""
        return [name for name in written if self.config.metrics and name not in self.scorer.higher_is_better]
