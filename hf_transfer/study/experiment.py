"""What is to be found out, and from what: configurations, rows, folds, and processes; nothing is run yet."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.rows import LabelledData
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
from hf_transfer.machine.digests import json_digest
from hf_transfer.replay.encoding import encode_rows
from hf_transfer.replay.replayed import Replay
from hf_transfer.runs.held_out import HeldOut
from hf_transfer.runs.run_folder import RunFolder, fold_place, place_of
from hf_transfer.scores.scorer import Scorer
from hf_transfer.tasks.task import Task
from hf_transfer.training.workers import Workers, fold_parallel

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

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
        """Of everything random in it; the same for every configuration of a grid."""
        return fold_seed(self.config.seed, self.repeat, self.fold)


@dataclass(frozen=True)
class Experiment:
    """What is to be found out, and from what: the configurations, the rows, their folds, the processes.

    Attributes:
        given: The configurations to try, where the lists in `config` do not say it. They differ in
            how to learn only, not in the rows or the folds.
        chosen: The configuration of each (repeat, fold), where every fold has chosen its own.
        aside: Numbers of rows that are in no fold, as something was chosen by them before.
        costs: Of each of `given`; the cheapest that is not clearly worse than the best is then reported
            and published, instead of the best.
        found: Settings that a search has settled, by name; those of `config.yaml` left them open.
        chosen_words: What was chosen for settings that were left to the kit, in sentences.
    """

    task: Task
    data: LabelledData
    config: RunConfig
    accelerator: Accelerator
    folder: RunFolder
    given: tuple[RunConfig, ...] = ()
    chosen: Mapping[tuple[int, int], RunConfig] = field(default_factory=dict)
    aside: tuple[int, ...] = ()
    costs: tuple[float, ...] = ()
    found: tuple[str, ...] = ()
    chosen_words: tuple[str, ...] = ()

    @cached_property
    def columns(self) -> FoldColumns:
        """What the folds are made from."""
        return fold_columns(self.task, self.data, self.config)

    @property
    def scorer(self) -> Scorer:
        """What scores predictions."""
        return self.task.target.scorer

    @cached_property
    def uids(self) -> RowIds:
        """What identifies each row, wherever it stands."""
        ids = self.data.rows.select_columns(["row_id"]).with_format("arrow")[:]
        return ids["row_id"].to_numpy()  # type: ignore[no-any-return]

    @cached_property
    def plans(self) -> tuple[FoldPlan, ...]:
        """The folds of each repeat."""
        return plan_repeats(self.uids, self.columns, self.config, aside=self.aside)

    @property
    def split_notes(self) -> tuple[str, ...]:
        """What was adjusted in the folds, each once."""
        return tuple(dict.fromkeys(note for plan in self.plans for note in plan.notes))

    @cached_property
    def coded(self) -> FoldColumns:
        """What the folds are made from, as it may be published."""
        return coded_columns(self.columns)

    @cached_property
    def _held_out(self) -> dict[str, HeldOut]:
        return {}

    def held_out(self, unit: Unit) -> HeldOut:
        """The held-out rows of a fold; the same object each time."""
        rows = self.plans[unit.repeat].valid(unit.fold)
        return self._held_out.setdefault(unit.place, HeldOut(rows, unit.place, unit.purpose))

    def train_rows(self, unit: Unit) -> RowNumbers:
        """The rows that a fold learns from: all that it does not hold out, or a part of them."""
        plan = self.plans[unit.repeat]
        rows = plan.train(unit.fold)
        if unit.percent == 100:
            return rows
        return nested_rows(rows, unit.percent, uids=self.uids, seed=plan.seed, columns=self.coded)

    @cached_property
    def grid(self) -> tuple[RunConfig, ...]:
        """The configurations to try."""
        return self.given or self.config.grid()

    @cached_property
    def units(self) -> list[Unit]:
        """All folds of all configurations."""
        return [unit for config in self.grid for unit in self.units_of(config)]

    def units_of(self, config: RunConfig) -> list[Unit]:
        """The folds of one configuration."""
        inside = place_of(config, self.grid)
        return [
            Unit(self.chosen.get((repeat, fold), config), repeat, fold, fold_place(inside, repeat, fold))
            for repeat, plan in enumerate(self.plans)
            for fold in plan.scored_folds
        ]

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
        grid = tuple(dict.fromkeys([*self.grid, *self.chosen.values()]))
        return Replay(self.task, self.encoded, self.config, self.accelerator, grid)

    @cached_property
    def row_of(self) -> RowNumbers:
        """Which row each encoded row comes from."""
        return np.asarray(self.encoded["row"][:], np.int64)

    def identity(self, config: RunConfig) -> str:
        """Digest of all that decides the result of a configuration's fold."""
        base, target = self.task.base, self.task.target
        parts = [config.scored(), self.data.fingerprint, base.revision, target.name, target.label_names]
        return json_digest(parts)

    def fold_table(self) -> "pa.Table":
        """The split, exactly, and what it was made from."""
        return fold_table(self.plans, self.uids, self.coded)
