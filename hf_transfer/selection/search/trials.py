"""Trials of a search: short trainings on few rows, each stored in a file of its own."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.folds import FoldPlan, derive_seed, search_plan
from hf_transfer.machine.digests import bytes_digest, json_digest
from hf_transfer.machine.files import write_json
from hf_transfer.machine.processes import wait_for_all
from hf_transfer.runs.reading import read_record
from hf_transfer.runs.schema import to_json
from hf_transfer.runs.search_record import KeptTrial, TrialRecord
from hf_transfer.selection.search.candidates import Candidate
from hf_transfer.study.experiment import Experiment, RowNumbers
from hf_transfer.training.fitting import fit
from hf_transfer.training.job import Job
from hf_transfer.training.predicting import calibrated_loss
from hf_transfer.training.workers import Workers

if TYPE_CHECKING:
    from hf_transfer.study.fold_runner import FoldRunner

HALVES = 2
_SMALLEST_BATCH = 4  # rows; BatchNorm needs some


@dataclass(frozen=True)
class Entry:
    """A candidate at one learning rate."""

    candidate: Candidate
    rate: float

    @property
    def title(self) -> str:
        """The candidate and its rate, for progress bars and messages."""
        solved = self.candidate.config.solved
        return (
            f"{self.candidate.name} in closed form" if solved else f"{self.candidate.name} at {self.rate:g}"
        )


@dataclass(frozen=True)
class Trial:
    """A training on one half of the rows, and its loss on the other half.

    Attributes:
        loss: At the temperature that suits the scored rows.
        passes: What it cost, in forward passes of one row.
    """

    entry: Entry
    half: int
    loss: float
    passes: float
    seconds: float

    @property
    def record(self) -> TrialRecord:
        """Itself as search.json has it."""
        return TrialRecord(
            candidate=self.entry.candidate.name,
            learning_rate=self.entry.rate,
            half=self.half,
            loss=self.loss,
            passes=self.passes,
            seconds=self.seconds,
        )


@dataclass
class Trials:
    """All trials on some rows of a study, which are cut into halves.

    A trial makes as many updates as a training of a real fold, by smaller batches: with fewer, low
    rates and frozen layers lose what they would have made up for. Its rate is that which goes with
    the batch, so that `Entry.rate` is always that of a real training.

    Args:
        runner: Whose rows, replay and folder are used.
        rows: Numbers of the rows to select by; nothing else is read.
        tag: Names them, where a run has several such selections.
        num_learned: Rows that a real fold learns from.
        on_trial: Is told of each trial, and of whether it was found from before; may raise to stop.
        parts: What the rows are cut into: halves, or more of them, of which all but one are learned from.

    References:
        Malladi et al., "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms", NeurIPS 2022,
        https://arxiv.org/abs/2205.10287: the square root of the batch.
    """

    runner: "FoldRunner"
    rows: RowNumbers
    tag: str
    num_learned: int
    on_trial: Callable[[Trial, bool], None] | None = None
    parts: int = HALVES
    done: dict[tuple[Entry, int], Trial] = field(default_factory=dict)

    @cached_property
    def halves(self) -> list[tuple[RowNumbers, RowNumbers]]:
        """Pairs of rows to learn from and rows to score, cut by the scheme of the real folds."""
        plan = inner_plan(self.runner.experiment, self.rows, self.tag, self.parts)
        return [(plan.train(i), plan.valid(i)) for i in plan.scored_folds]

    def run(self, wanted: Sequence[tuple[Entry, int]]) -> list[Trial]:
        """Train each (entry, half) that has no stored result; the processes share them out."""
        accelerator = self.runner.accelerator
        missing = [trial for trial in wanted if trial not in self.done]
        for number, (entry, half) in enumerate(missing):
            if number % accelerator.num_processes == accelerator.process_index:
                self._ensure(entry, half)
        wait_for_all(accelerator)
        self.done |= {trial: self._read(*trial) for trial in missing}
        return [self.done[trial] for trial in wanted]

    def _ensure(self, entry: Entry, half: int) -> None:
        path = self._path(entry, half)
        before = path.is_file()
        if not before:
            trial = self._train(entry, half)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, to_json(KeptTrial(**vars(trial.record), tag=self.tag)))
        if self.on_trial:
            self.on_trial(self._read(entry, half), before)

    def _train(self, entry: Entry, half: int) -> Trial:
        began = time.monotonic()
        experiment, replay = self.runner.experiment, self.runner.replay
        learn, score = self.halves[half]
        workers = Workers(self.runner.accelerator, together=False)
        # The same seed for all of a half: they differ in what is tried, and in nothing else.
        seed = derive_seed(experiment.config.seed, "search", self.tag, half)
        job = Job(experiment.task, replay, self._config(entry, len(learn)), seed, workers, entry.title)
        try:
            fitted = fit(job, replay.plain.positions_of(learn))
            scored = replay.plain.positions_of(score)
            loss = calibrated_loss(fitted.learner, fitted.batches, scored, workers)
        except (RuntimeError, ArithmeticError):
            loss = math.inf
        loss = loss if math.isfinite(loss) else math.inf
        passes = entry.candidate.passes * len(learn) + len(score)
        return Trial(entry, half, loss, passes, time.monotonic() - began)

    def _config(self, entry: Entry, num_rows: int) -> RunConfig:
        """The configuration of a trial on so many rows: it makes as many updates as a full training."""
        config = entry.candidate.at(entry.rate)
        if config.solved:
            return config
        size = round(config.batch_size * min(1.0, num_rows / self.num_learned))
        size = min(config.batch_size, max(_SMALLEST_BATCH, size))
        share = size / config.batch_size
        rate = entry.rate * (share if config.optimizer == "sgd" else math.sqrt(share))
        return replace(config, learning_rate=rate, batch_size=size, early_stopping=False)

    def _read(self, entry: Entry, half: int) -> Trial:
        kept = read_record(KeptTrial, self._path(entry, half))
        loss = math.inf if kept.loss is None else kept.loss
        return Trial(entry, half, loss, kept.passes, kept.seconds)

    def _path(self, entry: Entry, half: int) -> Path:
        """The trial's file, named after a digest of all that decides its result."""
        rows = bytes_digest(np.sort(self.rows).tobytes(), 8)
        identity = self.runner.experiment.identity(self._config(entry, len(self.halves[half][0])))
        name = json_digest([identity, rows, self.tag, half], 12)
        return self.runner.folder.path / "search" / f"{name}.json"


def inner_plan(experiment: Experiment, rows: RowNumbers, tag: str, num_folds: int) -> FoldPlan:
    """Split some rows by the experiment's scheme, or by its other columns if its folds were predefined."""
    return search_plan(
        rows,
        experiment.uids,
        num_folds,
        tag=tag,
        config=experiment.config,
        columns=experiment.columns,
    )
