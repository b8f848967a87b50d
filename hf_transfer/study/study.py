"""One configuration on one data set: the folds, each a pure function with its own folder."""

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.config.setting import is_auto
from hf_transfer.errors import RunError, TransferError
from hf_transfer.folds import hash_order, ids_at, inner_folds, inner_split
from hf_transfer.layers import trained_hash
from hf_transfer.machine.wording import fold_name, visible
from hf_transfer.replay.batching import Positions
from hf_transfer.replay.encoding import encoded_positions
from hf_transfer.runs.aggregate import FEWEST_TO_STOP_EARLY, FoldResults, best_of, frugal_of
from hf_transfer.runs.results import FoldResult, Scores
from hf_transfer.runs.run_folder import CHECKPOINT, TRAIN_ROWS
from hf_transfer.scores.evaluate_modules import hub_metric
from hf_transfer.study.estimate import say_duration
from hf_transfer.study.experiment import Experiment, RowNumbers, Unit
from hf_transfer.study.final.model_folder import MEMBER_FILE, member_identity, member_name, save_trained
from hf_transfer.study.tracking import FoldTracker
from hf_transfer.training.checkpoint import Checkpoints
from hf_transfer.training.fitting import fit
from hf_transfer.training.heads.fitting import fit_heads, heads_together
from hf_transfer.training.heads.template import Rows
from hf_transfer.training.job import Fitted, Job
from hf_transfer.training.predicting import Logits, predict
from hf_transfer.training.workers import Workers

if TYPE_CHECKING:
    from datasets import Dataset

# What fails a fold, and not the run.
_FAILURES = (RuntimeError, ArithmeticError, MemoryError, LookupError, ValueError)


@dataclass(frozen=True)
class Study(Experiment):
    """An experiment that is carried out: its folds are trained, scored, and written down."""

    def finished(self, unit: Unit) -> FoldResult | None:
        """What was found for a fold before."""
        return self.folder.finished(unit.place, self.identity(unit.config))

    def run(self) -> None:
        """Train and score every fold that is not done yet."""
        done = all(self.finished(unit) for unit in self.units)
        if done and self.config.final == "none":
            return
        self.replay.prepare()  # for the final model too
        say_duration(self)
        self.train(self.units)

    def train(self, units: Sequence[Unit]) -> None:
        """Train and score those of some folds that are not done yet; all processes call this."""
        done = all(self.finished(unit) for unit in units)
        self.accelerator.wait_for_everyone()  # all have looked before anyone writes
        if done:
            return
        for together in self._heads(units):
            # So quick that sharing it would only make the bits depend on who takes part.
            if self.accelerator.is_main_process:
                self._train_heads(together)
            self.accelerator.wait_for_everyone()
        mine = units
        if not self.workers.together:
            mine = units[self.accelerator.process_index :: self.accelerator.num_processes]
        for unit in mine:
            if self.finished(unit) is None:
                self.run_fold(unit)
        self.accelerator.wait_for_everyone()

    def run_fold(self, unit: Unit) -> FoldResult:
        """Train on the other shards, score the held-out one once, and write it down."""
        began = time.monotonic()
        tracker = FoldTracker(self.config, unit.place.replace("/", "-")) if self.workers.rank == 0 else None
        title = fold_name(unit.repeat, unit.fold, self.config.num_repeats)
        try:
            fitted = self.fit(
                self.train_rows(unit),
                unit.seed,
                title,
                tracker=tracker,
                config=unit.config,
                checkpoints=self.checkpoints(unit),
            )
            result, table = self._scored(unit, fitted, self.workers)
        except _FAILURES as error:
            if not self._fails_a_fold(error):
                raise
            result, table = self.unscored(unit), None
            result = replace(result, status="failed", error=f"{type(error).__name__}: {error}")
            fitted = None
        before = fitted.seconds_before if fitted else 0.0
        result = replace(result, seconds=before + time.monotonic() - began)
        if self.workers.rank == 0:
            self._keep(unit, result, fitted, table)
            if tracker:
                tracker.finish(result.scores)
        return result

    def _fails_a_fold(self, error: Exception) -> bool:
        """Whether the other folds can go on after this.

        Processes at work together all raise a RunError. Of another error the others would know
        nothing, and wait for this one.
        """
        if isinstance(error, RunError):
            return True
        return not isinstance(error, TransferError) and not self.workers.together

    def _heads(self, units: Sequence[Unit]) -> list[list[Unit]]:
        """Folds whose heads may be trained together: those whose configurations differ in rates only."""
        alike: defaultdict[RunConfig, list[Unit]] = defaultdict(list)
        at_any_rate = {config: config.at_any_rate for config in {unit.config for unit in units}}
        for unit in units if not self.chosen else ():
            alike[at_any_rate[unit.config]].append(unit)
        return list(alike.values())

    def _train_heads(self, units: Sequence[Unit]) -> None:
        """Train all heads in one program if possible; what it does not finish is left to `run_fold`."""
        template = heads_together(self.replay, units[0].config)
        if template is None:
            return
        configs = list(dict.fromkeys(unit.config for unit in units))
        by_config = [[unit for unit in units if unit.config == config] for config in configs]
        folds = [self._split(self.train_rows(u), u.seed, u.config) for u in by_config[0]]
        if len({inner is None for _, inner in folds}) > 1:
            return  # early stopping for some folds only
        rows = [
            Rows(u.seed, *split, self._splits(self.train_rows(u), u.seed, u.config))
            for u, split in zip(by_config[0], folds, strict=True)
        ]
        try:
            for config, fold, fitted in fit_heads(template, configs, rows):
                unit = by_config[config][fold]
                if self.finished(unit) is None:
                    self._keep_head(unit, fitted)
        except _FAILURES as error:
            if isinstance(error, TransferError) and not isinstance(error, RunError):
                raise  # a full disk, say
            self.replay.notes.append(
                f"Heads were trained one by one, as together they failed ({type(error).__name__}: {error})."
            )

    def _keep_head(self, unit: Unit, fitted: Fitted) -> None:
        """Score and write down one of the heads that this process has trained together."""
        began, tracker = time.monotonic(), FoldTracker(self.config, unit.place.replace("/", "-"))
        # The others wait, so that nothing may be gathered from them.
        result, table = self._scored(unit, fitted, Workers(self.accelerator, together=False))
        trained = sum(epoch["seconds"] for epoch in fitted.history)  # its share of the time of all
        self._keep(unit, replace(result, seconds=trained + time.monotonic() - began), fitted, table)
        for epoch in fitted.history:
            tracker.epoch(epoch)
        tracker.finish(result.scores)

    def _keep(self, unit: Unit, result: FoldResult, fitted: Fitted | None, table: pa.Table | None) -> None:
        history = fitted.history if fitted else []
        if fitted and self.keeps_models and unit.repeat == 0:
            self.keep_model(unit, fitted)
        self.folder.keep(unit.place, result, self.identity(unit.config), history, table)
        self._say(unit, result)

    @property
    def keeps_models(self) -> bool:
        """Whether the folds' models are kept as they are trained: not of a grid, which may have too many."""
        return self.config.final in {"ensemble", "soup"} and len(self.grid) == 1

    def keep_model(self, unit: Unit, fitted: Fitted) -> None:
        """Keep a fold's model in its folder, to be joined with the others."""
        record = {"repeat": unit.repeat, "fold": unit.fold, "identity": self.identity(unit.config)}
        save_trained(
            self.task, fitted.model, self.folder.unit(unit.place) / "model", records={MEMBER_FILE: record}
        )

    def model_of(self, unit: Unit) -> Path | None:
        """Where a fold's model was kept, by this run or an earlier one with the same settings and rows."""
        for folder in (
            self.folder.unit(unit.place) / "model",
            self.folder.path / "model" / member_name(unit.repeat, unit.fold),
        ):
            if member_identity(folder) == self.identity(unit.config):
                return folder
        return None

    def of_untrained(self, name: Literal["test", "sealed"]) -> "Study | None":
        """The same task on rows that no fold has, if there are any."""
        rows = getattr(self.data, name)
        if rows is None:
            return None
        fingerprint = f"{name} of {self.data.fingerprint}"
        return replace(
            self, data=replace(self.data, rows=rows, test=None, sealed=None, fingerprint=fingerprint)
        )

    def all_logits(self, model: nn.Module, workers: Workers) -> Logits:
        """What a model gives for every row of this study, by the row's number."""
        batches = self.replay.plain
        return predict(batches.learner(model), batches, np.arange(len(self.encoded)), workers)

    def score_all(self, logits: Logits, keep_as: str | None = None) -> dict[str, Any]:
        """Score logits of all rows of this study; keep the predictions under a name if one is given."""
        table = self.as_table(logits, np.arange(len(self.uids)), 0, 0)
        if keep_as:
            self.folder.keep_rows(keep_as, table)
        return {"num_rows": table.num_rows, "scores": self.scores(table)}

    def fit(
        self,
        rows: RowNumbers,
        seed: int,
        title: str,
        *,
        config: RunConfig,
        tracker: FoldTracker | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> Fitted:
        """Train a fresh model on some rows, with an inner split for early stopping when asked.

        With checkpoints it goes on from the newest of them.
        """
        report = tracker.epoch if tracker else None
        job = Job(self.task, self.replay, config, seed, self.workers, title, report, self.uids, checkpoints)
        return fit(job, *self._split(rows, seed, config), self._splits(rows, seed, config))

    def checkpoints(self, unit: Unit) -> Checkpoints | None:
        """Where a fold's training keeps its state while it goes on."""
        return self.checkpoints_in(self.folder.unit(unit.place), unit.config)

    def checkpoints_in(self, folder: Path, config: RunConfig) -> Checkpoints | None:
        """Where a training of this study keeps its state; None if that is not wanted."""
        minutes = self.config.checkpoint_minutes
        if minutes is None:
            return None
        return Checkpoints(folder / CHECKPOINT, self.identity(config), minutes)

    def _split(self, rows: RowNumbers, seed: int, config: RunConfig) -> tuple[Positions, Positions | None]:
        """Positions to learn from, and those of an inner split to stop by when asked for."""
        if not config.early_stopping or len(rows) < FEWEST_TO_STOP_EARLY:
            return encoded_positions(self.row_of, rows), None
        learn, stop = inner_split(rows, self.uids, seed=seed, columns=self.columns, scheme=config.scheme)
        return encoded_positions(self.row_of, learn), encoded_positions(self.row_of, stop)

    def _splits(self, rows: RowNumbers, seed: int, config: RunConfig) -> list[tuple[Positions, Positions]]:
        """Positions to learn from and to choose a penalty by, where one is to be chosen."""
        if not is_auto(config.weight_decay):
            return []
        found = inner_folds(rows, self.uids, seed=seed, columns=self.columns, scheme=config.scheme)
        return [
            (encoded_positions(self.row_of, learn), encoded_positions(self.row_of, check))
            for learn, check in found
        ]

    def table(self, fitted: Fitted, rows: RowNumbers, repeat: int, fold: int, workers: Workers) -> pa.Table:
        """Predictions of some processes for some rows, as the columns of predictions.parquet."""
        positions = encoded_positions(self.row_of, rows)
        return self.as_table(predict(fitted.learner, fitted.batches, positions, workers), rows, repeat, fold)

    def as_table(self, logits: Logits, rows: RowNumbers, repeat: int, fold: int) -> pa.Table:
        """Logits of some rows, as the columns of predictions.parquet."""
        columns = {
            "row_id": ids_at(self.uids, rows),
            "repeat": pa.array([repeat] * len(rows), pa.int32()),
            "fold": pa.array([fold] * len(rows), pa.int32()),
        }
        found = self.task.target.columns(
            self._selected(rows.tobytes()), [logits[row] for row in rows.tolist()]
        )
        columns |= {name: _listed(values) for name, values in found.items()}
        if self.coded.groups is not None:
            columns["unit"] = np.asarray(self.coded.groups)[rows]
        return pa.table(columns)

    def unscored(self, unit: Unit) -> FoldResult:
        """The record of a fold before anything is known but its size."""
        train, valid = self.train_rows(unit), self.plans[unit.repeat].valid(unit.fold)
        return FoldResult(unit.repeat, unit.fold, len(train), len(valid), unit.seed)

    def _scored(self, unit: Unit, fitted: Fitted, workers: Workers) -> tuple[FoldResult, pa.Table]:
        """Scores of the held-out rows and of as many training rows, and the predictions behind the first."""
        if fitted.hash_before != fitted.hash_after:
            raise RunError(
                f"Frozen layers changed in training: {fitted.hash_before} before, {fitted.hash_after} after."
            )
        result, held_out = self.unscored(unit), self.held_out(unit)
        table = held_out.read(
            lambda rows: self.table(fitted, rows, unit.repeat, unit.fold, workers),
            weights=trained_hash(fitted.model, fitted.freezing),
        )
        sample = self._sample(unit, result.num_valid)
        seen = self.table(fitted, sample, unit.repeat, unit.fold, workers)
        if workers.rank == 0:
            self.folder.keep_rows(f"folds/{unit.place}/{TRAIN_ROWS}", seen)
        result = replace(
            result,
            scores=self.scores(table),
            train_scores=self.scorer.score(seen),
            train_rows_scored=len(sample),
            num_epochs=fitted.best_epoch,
            parameters=fitted.parameters,
            frozen_hash_before=fitted.hash_before,
            frozen_hash_after=fitted.hash_after,
            readings=held_out.readings,
            start_hash=fitted.start_hash,
            weight_decay=fitted.strength,
            notes=fitted.notes,
        )
        return result, table

    @cached_property
    def _selected(self) -> Callable[[bytes], "Dataset"]:
        """Some rows by their numbers, as bytes: every configuration predicts the same."""
        rows, num_folds = self.data.rows, self.config.num_folds * self.config.num_repeats
        return lru_cache(2 * num_folds)(lambda chosen: rows.select(np.frombuffer(chosen, np.int64)))

    @cached_property
    def _samples(self) -> dict[tuple[int, int, int], RowNumbers]:
        return {}

    def _sample(self, unit: Unit, num_rows: int) -> RowNumbers:
        """As many training rows as held-out ones: enough to see overfitting, at little cost.

        They are the same for every configuration, and drawn once.
        """
        key = (unit.repeat, unit.fold, unit.percent)
        if key not in self._samples:
            train = self.train_rows(unit)
            order = hash_order(ids_at(self.uids, train), unit.seed)
            self._samples[key] = np.sort(train[order[:num_rows]])
        return self._samples[key]

    def scores(self, table: pa.Table) -> Scores:
        """The task's scores, and those of the Hub that were asked for by name."""
        scores = self.scorer.score(table)
        for name in self.config.metrics:
            found = hub_metric(name).compute(
                predictions=table["prediction"].to_pylist(), references=table["label"].to_pylist()
            )
            scores |= {key: float(value) for key, value in found.items()}
        return scores

    def results(self) -> dict[RunConfig, list[FoldResult]]:
        """What is in the folds' folders, of whichever process, for each configuration."""
        found = {config: self.results_of(self.units_of(config)) for config in self.grid}
        everything = [result for results in found.values() for result in results]
        if all(result.status == "failed" for result in everything):
            raise RunError(f"Every fold failed. The first: {everything[0].error}")
        return found

    def choose(self, found: FoldResults) -> RunConfig:
        """The configuration to report and publish."""
        scorer = self.scorer
        return frugal_of(found, scorer, self.costs) if self.costs else best_of(found, scorer)

    def results_of(self, units: Sequence[Unit]) -> list[FoldResult]:
        """What is in the folders of some folds."""
        return [self.finished(unit) or self.folder.failed(unit.place) for unit in units]

    def predictions(self, config: RunConfig, results: Sequence[FoldResult]) -> pa.Table:
        """All out-of-fold rows of a configuration."""
        return self.predictions_of(self.units_of(config), results)

    def predictions_of(self, units: Sequence[Unit], results: Sequence[FoldResult]) -> pa.Table:
        """The out-of-fold rows of some folds, without those that failed."""
        done = [u for u, result in zip(units, results, strict=True) if result.status == "done"]
        folders = [self.folder.unit(unit.place) for unit in done]
        return pa.concat_tables([pq.read_table(folder / "predictions.parquet") for folder in folders])

    def _say(self, unit: Unit, result: FoldResult) -> None:
        name = self.scorer.primary_metric
        value = result.scores.get(name)
        found = f"{name} {value:.3f}" if value is not None else result.error or f"{name} undefined"
        inside, _, _ = unit.place.rpartition("/")  # of a grid or a control run
        among = f"{inside}, " if inside else ""
        fold = fold_name(unit.repeat, unit.fold, self.config.num_repeats)
        said = f"{among}{fold}: {found} ({result.seconds:.1f} s)"
        print(visible(said), file=sys.stderr)


def _listed(values: Any) -> Any:
    """A matrix as a column of lists in double precision; another column as it is."""
    if not isinstance(values, np.ndarray) or values.ndim != 2:
        return values
    starts = pa.array(np.arange(len(values) + 1) * values.shape[1], pa.int32())
    return pa.ListArray.from_arrays(starts, pa.array(values.ravel().astype(np.float64)))
