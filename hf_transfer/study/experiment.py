"""What to run: task, rows, folds and configurations. Facts only; nothing is trained here."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.labelled import LabelledData
from hf_transfer.data.pretrained import base_origin
from hf_transfer.data.sealing import fold_columns
from hf_transfer.folds import (
    FoldColumns,
    FoldPlan,
    RowIds,
    coded_columns,
    fold_seed,
    fold_table,
    nested_rows,
    plan_repeats,
)
from hf_transfer.folds.checks import few_to_learn
from hf_transfer.machine.digests import json_digest
from hf_transfer.runs.base_origin import BaseOrigin
from hf_transfer.runs.run_folder import fold_place, place_of
from hf_transfer.study.decision import Decision
from hf_transfer.tasks.task import Task

if TYPE_CHECKING:
    import pyarrow as pa

RowNumbers = NDArray[np.int64]


@dataclass(frozen=True)
class Unit:
    """One fold of one configuration: a pure function with its own folder.

    Attributes:
        percent: Of the fold's training rows, how many to learn from.
        purpose: What its held-out rows are read for.
    """

    config: RunConfig
    repeat: int
    fold: int
    place: str
    percent: int = 100
    purpose: str = "score"

    @property
    def seed(self) -> int:
        """Seed of everything random in it, the same for every configuration of a grid."""
        return fold_seed(self.config.seed, self.repeat, self.fold)


@dataclass(frozen=True)
class Experiment:
    """The task, the rows with their folds, and the configurations to try.

    Attributes:
        config: Settings that all configurations share.
        decision: The configurations to try, and how they were chosen.
        given_plans: The folds of each repeat, where they are not to be made from the rows.
    """

    task: Task
    data: LabelledData
    config: RunConfig
    decision: Decision = field(default_factory=Decision)
    given_plans: tuple[FoldPlan, ...] = ()

    def decided(self, **changes: Any) -> "Experiment":
        """Change the decision; takes the attributes of `Decision`."""
        return replace(self, decision=replace(self.decision, **changes))

    @cached_property
    def columns(self) -> FoldColumns:
        """Columns that the folds are made from."""
        return fold_columns(self.task, self.data, self.config)

    @cached_property
    def coded(self) -> FoldColumns:
        """The same columns without readable values, as published."""
        return coded_columns(self.columns)

    @cached_property
    def uids(self) -> RowIds:
        """Id of each row, independent of its position."""
        ids = self.data.rows.select_columns(["row_id"]).with_format("arrow")[:]
        return ids["row_id"].to_numpy()  # type: ignore[no-any-return]

    @property
    def num_rows(self) -> int:
        """Number of rows in the folds."""
        return len(self.uids) - len(self.decision.aside)

    @cached_property
    def plans(self) -> tuple[FoldPlan, ...]:
        """The folds of each repeat."""
        aside = self.decision.aside
        return self.given_plans or plan_repeats(self.uids, self.columns, self.config, aside=aside)

    @property
    def split_notes(self) -> tuple[str, ...]:
        """Adjustments made to the folds, and classes of which they have few rows, each once."""
        notes = [note for plan in self.plans for note in plan.notes]
        return tuple(dict.fromkeys([*notes, *self._few_to_learn()]))

    def _few_to_learn(self) -> tuple[str, ...]:
        labels, names = self.columns.labels, self.columns.label_names
        if not self.task.target.right_or_wrong or labels is None or not names:
            return ()
        trains = [plan.train(fold) for plan in self.plans for fold in plan.scored_folds]
        classes = np.asarray(labels)
        counts = [np.bincount(classes[rows], minlength=len(names)) for rows in trains]
        return few_to_learn(np.min(counts, axis=0), names)

    @cached_property
    def base_origin(self) -> BaseOrigin | None:
        """What made the base model, if the kit did.

        Raises:
            DataError: If it has seen some of these rows, and `transductive` does not allow it.
        """
        return base_origin(self.task.base, self.data, self.config)

    def fold_table(self) -> "pa.Table":
        """The split and the columns it was made from, as folds.parquet holds them."""
        return fold_table(self.plans, self.uids, self.coded)

    @cached_property
    def grid(self) -> tuple[RunConfig, ...]:
        """The configurations to try."""
        return self.decision.configs or self.config.grid()

    @cached_property
    def units(self) -> list[Unit]:
        """All folds of all configurations, in order."""
        return [unit for config in self.grid for unit in self.units_of(config)]

    def units_of(self, config: RunConfig) -> list[Unit]:
        """The folds of one configuration."""
        inside, of_folds = place_of(config, self.grid), self.decision.of_folds
        return [
            Unit(of_folds.get((repeat, fold), config), repeat, fold, fold_place(inside, repeat, fold))
            for repeat, plan in enumerate(self.plans)
            for fold in plan.scored_folds
        ]

    def valid_rows(self, unit: Unit) -> RowNumbers:
        """Numbers of the held-out rows of a fold."""
        return self.plans[unit.repeat].valid(unit.fold)

    def train_rows(self, unit: Unit) -> RowNumbers:
        """Numbers of the training rows of a fold, or the asked part of them."""
        plan = self.plans[unit.repeat]
        rows = plan.train(unit.fold)
        if unit.percent == 100:
            return rows
        return nested_rows(rows, unit.percent, uids=self.uids, seed=plan.seed, columns=self.coded)

    def identity(self, config: RunConfig) -> str:
        """Digest of everything that decides a configuration's results: settings, rows, base model, labels."""
        base, target = self.task.base, self.task.target
        parts = [config.scored(), self.data.fingerprint, base.revision, target.name, target.label_names]
        return json_digest(parts)
