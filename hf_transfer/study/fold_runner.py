"""Train, score and store one fold of one configuration, or the heads of several together."""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
from accelerate import Accelerator

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.config.setting import is_auto
from hf_transfer.errors import ConfigError, RunError, ShortOfMemoryError, TransferError
from hf_transfer.folds import RowIds, inner_folds, inner_split
from hf_transfer.machine.digests import json_digest
from hf_transfer.machine.memory import free_memory
from hf_transfer.machine.wording import count, fold_name, visible
from hf_transfer.replay.encoding import encode_rows
from hf_transfer.replay.replayed import Replay
from hf_transfer.runs.aggregate import FEWEST_TO_STOP_EARLY
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.run_folder import CHECKPOINT, RunFolder
from hf_transfer.study.experiment import Experiment, RowNumbers, Unit
from hf_transfer.study.final.members import keep_member, keeps_member
from hf_transfer.study.fold_scorer import FoldScorer, environment
from hf_transfer.study.tracking import FoldTracker
from hf_transfer.study.wise import choose_share, keep_shares
from hf_transfer.training.checkpoint import Checkpoints
from hf_transfer.training.fitting import fit
from hf_transfer.training.heads.fitting import fit_heads, heads_together
from hf_transfer.training.heads.template import Rows
from hf_transfer.training.job import Fitted, Job
from hf_transfer.training.predicting import Logits
from hf_transfer.training.wise import average
from hf_transfer.training.workers import Workers, fold_parallel, shares_model

# What fails a fold, and not the run.
_FAILURES = (RuntimeError, ArithmeticError, MemoryError, LookupError, ValueError)


class FoldRunner:
    """Runs folds of one experiment, in any order: each is a pure function with its own folder.

    Args:
        experiment: Whose folds.
        accelerator: Where to run.
        folder: Where results are kept.
        make_replay: Gives the batches of all rows; called when they are first needed.
    """

    def __init__(
        self,
        experiment: Experiment,
        accelerator: Accelerator,
        folder: RunFolder,
        make_replay: Callable[[], Replay] | None = None,
    ) -> None:
        self.experiment, self.accelerator, self.folder = experiment, accelerator, folder
        self.scorer = FoldScorer(experiment, folder)
        self.notes: list[str] = []  # of memory that ran out beside the folds
        self._make_replay = make_replay or self._plain_replay

    @property
    def row_names(self) -> Sequence[Any] | RowIds:
        """Id of each row that may be learned from, by its number."""
        return self.experiment.uids

    @cached_property
    def replay(self) -> Replay:
        """Batches of all rows, from stored features once those are prepared."""
        return self._make_replay()

    def _plain_replay(self) -> Replay:
        task, data, decision = self.experiment.task, self.experiment.data, self.experiment.decision
        encoded = encode_rows(task, data.rows, data.fingerprint, self.accelerator)
        grid = tuple(dict.fromkeys([*self.experiment.grid, *decision.of_folds.values()]))
        return Replay(task, encoded, self.experiment.config, self.accelerator, grid)

    @cached_property
    def workers(self) -> Workers:
        """How processes share the work: whole folds each, or every batch."""
        experiment = self.experiment
        alone = fold_parallel(experiment.config, self.accelerator, len(experiment.units))
        sharded = shares_model(experiment.config, self.accelerator)
        return Workers(self.accelerator, together=not alone, sharded=sharded)

    def finished(self, unit: Unit) -> FoldResult | None:
        """Load the result of a fold; None if it is not finished."""
        return self.folder.finished(unit.place, self.experiment.identity(unit.config))

    def check_environment(self, found: Iterable[FoldResult]) -> None:
        """Refuse to go on with finished folds whose bits another number of threads or device made.

        Raises:
            ConfigError: Saying how to go on.
        """
        here = environment(self.accelerator.device)
        for fold in found if not self.experiment.config.mixed_environments else ():
            there = fold.environment
            if there is not None and there.arithmetic != here.arithmetic:
                raise ConfigError(
                    f"{self.folder.path} holds folds that were trained with {count(there.threads, 'thread')} "
                    f"on {there.device}. Here are {here.threads} on {here.device}: that gives other bits. Go "
                    f"on with OMP_NUM_THREADS={there.threads} there, or pass --mixed_environments, and the "
                    "card will say it."
                )

    def result(self, unit: Unit) -> FoldResult:
        """Load the result of a fold, finished or failed."""
        return self.finished(unit) or self.folder.failed(unit.place)

    def run(self, unit: Unit) -> FoldResult:
        """Train a fold, score its held-out rows once, and store the result."""
        result = self._run(unit)
        # Here no frame and no error holds on to the model. Autocast leaves it in a circle.
        if result.status == "failed" or self.accelerator.native_amp:
            self.accelerator.free_memory()
        return result

    def _run(self, unit: Unit) -> FoldResult:
        began = time.monotonic()
        tracker = self._tracker(unit) if self.workers.rank == 0 else None
        fitted, table = None, None
        try:
            fitted = self.fit_unit(unit, self._name(unit), tracker)
            result, table = self.scorer.score(unit, fitted, self.workers)
            keep_shares(self, unit, fitted)
        except _FAILURES as error:
            if not self._fails_a_fold(error):
                raise
            result, fitted = _failed(self.scorer.unscored(unit), error), None
        before = fitted.seconds_before if fitted else 0.0
        result = replace(result, seconds=before + time.monotonic() - began)
        if self.workers.rank == 0:
            self._keep(unit, result, fitted, table)
            if tracker:
                tracker.finish(result.scores)
        return result

    def keep_outputs(self, unit: Unit, outputs: Logits, weights: str) -> None:
        """Score outputs that no training made, once, and write the fold's folder.

        Args:
            unit: The fold.
            outputs: For each of its held-out rows.
            weights: Digest of what made them.
        """
        held_out = self.scorer.held_out(unit)
        rows = held_out.read(
            lambda rows: self.scorer.table(outputs, rows, unit.repeat, unit.fold), weights=weights
        )
        scores = self.experiment.task.target.scorer.score(rows)
        result = replace(self.scorer.unscored(unit), scores=scores, readings=held_out.readings)
        self.folder.keep(unit.place, result, self.experiment.identity(unit.config), [], rows)

    def _fails_a_fold(self, error: Exception) -> bool:
        """Whether an error fails this fold only, so that the other folds can go on.

        Processes at work together all raise a RunError. Of another error, and of memory that ends in one,
        the others may know nothing, and wait for this one: it ends, and its launcher ends them.
        """
        if isinstance(error, RunError):
            return not (self.workers.together and isinstance(error, ShortOfMemoryError))
        return not isinstance(error, TransferError) and not self.workers.together

    def run_heads(self, units: Sequence[Unit]) -> None:
        """Train the heads of some folds together if possible; `run` trains the rest.

        Args:
            units: The same folds of each of their configurations, which differ in rates only.
        """
        template = heads_together(self.replay, units[0].config)
        if template is None:
            return
        configs = list(dict.fromkeys(unit.config for unit in units))
        by_config = [[unit for unit in units if unit.config == config] for config in configs]
        rows = [self._rows(self.experiment.train_rows(u), u.seed, u.config) for u in by_config[0]]
        if len({some.inner is None for some in rows}) > 1:
            return  # early stopping for some folds only
        try:
            for config, fold, fitted in fit_heads(template, configs, rows):
                self._keep_head(by_config[config][fold], fitted)
        except _FAILURES as error:
            if isinstance(error, TransferError) and not isinstance(error, RunError):
                raise  # a full disk, say
            self.replay.notes.append(
                f"Heads were trained one by one, as together they failed ({type(error).__name__}: {error})."
            )
        else:
            return
        free_memory()  # here, as the error holds on to what was computed

    def _keep_head(self, unit: Unit, fitted: Fitted) -> None:
        """Score and store one of the heads that were trained together, unless it is stored already."""
        if self.finished(unit) is not None:
            return
        began, tracker = time.monotonic(), self._tracker(unit)
        # The others wait, so that nothing may be gathered from them.
        result, table = self.scorer.score(unit, fitted, Workers(self.accelerator, together=False))
        trained = sum(epoch["seconds"] for epoch in fitted.history)  # its share of the time of all
        self._keep(unit, replace(result, seconds=trained + time.monotonic() - began), fitted, table)
        for epoch in fitted.history:
            tracker.epoch(epoch)
        tracker.finish(result.scores)

    def fit_unit(self, unit: Unit, title: str, tracker: FoldTracker | None = None) -> Fitted:
        """Train the model of a fold."""
        rows, folder = self.experiment.train_rows(unit), self.folder.unit(unit.place)
        return self.fit(rows, unit.seed, title, config=unit.config, folder=folder, tracker=tracker)

    def fit(
        self,
        rows: RowNumbers,
        seed: int,
        title: str,
        *,
        config: RunConfig,
        folder: Path,
        tracker: FoldTracker | None = None,
    ) -> Fitted:
        """Train a new model on some rows, with an inner split for early stopping if asked.

        With `wise`, its weights are averaged with those that it started from.

        Args:
            rows: Their numbers.
            seed: Of everything random in it.
            title: Of the progress bar.
            config: How to learn.
            folder: Where the training keeps its checkpoints; it goes on from the newest.
            tracker: Is told of each epoch.
        """
        wise = choose_share(self, rows, seed, title, config=config, folder=folder)
        fitted = self.fit_plain(rows, seed, title, config=config, folder=folder, tracker=tracker)
        if wise is not None:
            average(fitted, wise.share)
            fitted.wise = wise
        return fitted

    def fit_plain(
        self,
        rows: RowNumbers,
        seed: int,
        title: str,
        *,
        config: RunConfig,
        folder: Path,
        tracker: FoldTracker | None = None,
    ) -> Fitted:
        """Train a new model as `fit` does, and leave its weights as they have become."""
        report = tracker.epoch if tracker else None
        job = Job(
            self.experiment.task,
            self.replay,
            config,
            seed,
            self.workers,
            title,
            report,
            self.row_names,
            self.checkpoints(folder, config),
        )
        parts = self._rows(rows, seed, config)
        return fit(job, parts.train, parts.inner, parts.splits)

    def checkpoints(self, folder: Path, config: RunConfig) -> Checkpoints | None:
        """Checkpoints of one training; None if the settings ask for none."""
        minutes = self.experiment.config.checkpoint_minutes
        if minutes is None:
            return None
        identity = self.experiment.identity(config)
        if not self.experiment.config.mixed_environments:  # half a fold of each would be no fold of either
            identity = json_digest([identity, *environment(self.accelerator.device).arithmetic])
        return Checkpoints(folder / CHECKPOINT, identity, minutes)

    def _rows(self, rows: RowNumbers, seed: int, config: RunConfig) -> Rows:
        """Split training rows into parts to learn from, to stop by, and to choose a penalty by."""
        ids, columns, positions = (
            self.experiment.uids,
            self.experiment.columns,
            self.replay.plain.positions_of,
        )
        learn, stop, splits = rows, None, []
        if config.early_stopping and len(rows) >= FEWEST_TO_STOP_EARLY:
            learn, stop = inner_split(rows, ids, seed=seed, columns=columns, scheme=config.scheme)
        if is_auto(config.weight_decay):
            splits = inner_folds(rows, ids, seed=seed, columns=columns, scheme=config.scheme)
        return Rows(
            seed,
            positions(learn),
            None if stop is None else positions(stop),
            [(positions(some), positions(check)) for some, check in splits],
        )

    def _keep(self, unit: Unit, result: FoldResult, fitted: Fitted | None, table: pa.Table | None) -> None:
        if fitted and keeps_member(self.experiment, unit):
            keep_member(self.experiment, self.folder, unit, fitted.model)
        history = fitted.history if fitted else []
        self.folder.keep(unit.place, result, self.experiment.identity(unit.config), history, table)
        self.say(unit, result)

    def _tracker(self, unit: Unit) -> FoldTracker:
        return FoldTracker(self.experiment.config, unit.place.replace("/", "-"))

    def _name(self, unit: Unit) -> str:
        return fold_name(unit.repeat, unit.fold, self.experiment.config.num_repeats)

    def say(self, unit: Unit, result: FoldResult) -> None:
        """Print how a fold went, in a line."""
        metric = self.experiment.task.target.scorer.primary_metric
        value = result.scores.get(metric)
        outcome = f"{metric} {value:.3f}" if value is not None else result.error or f"{metric} undefined"
        inside, _, _ = unit.place.rpartition("/")  # of a grid or a control run
        among = f"{inside}, " if inside else ""
        said = f"{among}{self._name(unit)}: {outcome} ({result.seconds:.1f} s)"
        print(visible(said), file=sys.stderr)


def _failed(result: FoldResult, error: Exception) -> FoldResult:
    return replace(result, status="failed", error=f"{type(error).__name__}: {error}")
