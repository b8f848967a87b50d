"""Make the final model: train on all rows, or join the folds' models."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import RunError
from hf_transfer.folds import derive_seed
from hf_transfer.layers.output import divide_logits
from hf_transfer.layers.phases import freeze_for
from hf_transfer.machine.devices import placed
from hf_transfer.machine.digests import json_digest
from hf_transfer.machine.files import write_files, write_json
from hf_transfer.machine.processes import wait_for_all
from hf_transfer.machine.wording import fold_name
from hf_transfer.replay.batching import Positions
from hf_transfer.runs.aggregate import final_epochs
from hf_transfer.runs.final_record import Final, KeptFinal, RowScores, SharedStart, SoupTest
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.run_folder import CALIBRATION_FILE, CHECKPOINT, reader_digests, weight_digests
from hf_transfer.runs.schema import to_json
from hf_transfer.runs.unit_files import DONE, read_whole, with_digests
from hf_transfer.scores.calibration import calibrate
from hf_transfer.scores.cut_points import find_cuts
from hf_transfer.scores.cutting import Cut
from hf_transfer.study.experiment import Unit
from hf_transfer.study.final.agreement import agreement, agreement_note
from hf_transfer.study.final.ends import ends_files
from hf_transfer.study.final.ensemble import average_outputs, logits_of
from hf_transfer.study.final.members import keep_member, member_folder
from hf_transfer.study.final.model_folder import (
    CUTS_FILE,
    member_name,
    save_ensemble,
    save_trained,
)
from hf_transfer.study.final.reload import NUM_RELOADED, reload_check
from hf_transfer.study.final.soup import (
    average_weights,
    check_start,
    judge_soup,
    load_members,
    refused_words,
    renew_statistics,
)
from hf_transfer.study.final.untrained import UntrainedRows
from hf_transfer.training.epochs import effective_batches, epoch_order
from hf_transfer.training.job import Ends, Fitted
from hf_transfer.training.predicting import Logits
from hf_transfer.training.sharding import whole_model
from hf_transfer.training.start import shared_seed
from hf_transfer.training.workers import use_cores

if TYPE_CHECKING:
    from hf_transfer.study.study import Study


def make_final(
    study: "Study", config: RunConfig, results: Sequence[FoldResult]
) -> tuple[Final, RowScores | None]:
    """Make the model to publish, and score it on sealed and test rows, if there are any.

    All processes call this; what it gives is whole on the main one.

    Args:
        study: The finished study.
        config: The configuration to train; of a grid, the best.
        results: Of its folds, in order.

    Returns:
        The `final` and the `test` part of results.json.

    Raises:
        RunError: If training failed, or the folds' models cannot be joined.
    """
    kind, runner = study.experiment.config.final, study.runner
    if kind == "none":
        return Final(kind="none"), None
    final = _FinalModel(study, config, results)
    before = final.made_before()
    wait_for_all(runner.accelerator)  # all have looked before anyone writes
    if before is not None:
        return before
    if study.engine is not None:
        failed = study.engine.finish(study, config, results) or "its files did not arrive whole"
        return final.made_before() or (_failed(failed), None)
    final.encode_untrained()
    if kind != "refit":
        final.complete_members()
    if not runner.workers.together:
        if not runner.accelerator.is_main_process:
            return Final(kind="none"), None
        use_cores(runner.accelerator, study.experiment.config)  # the others only wait from here on
    try:
        record, test = {"refit": final.refit, "ensemble": final.ensemble, "soup": final.soup}[kind]()
    except (RuntimeError, ArithmeticError, MemoryError) as error:
        if runner.workers.together and not isinstance(error, RunError):
            raise  # the other processes know nothing of it
        return _failed(f"{type(error).__name__}: {error}"), None
    if final.saves:
        record = final.checked(record)
        final.keep(record, test)
    return record, test


def _failed(said: str) -> Final:
    """Record of a final model that could not be made, so that the folds' results are still reported."""
    print(f"final model: {said}", file=sys.stderr)
    note = f"The final model could not be made, and none is published. {said}"
    return Final(kind="none", notes=[note], error=said)


class _FinalModel:
    """The final model of a configuration: refit, ensemble or soup."""

    def __init__(self, study: "Study", config: RunConfig, results: Sequence[FoldResult]) -> None:
        self.study, self.config = study, config
        self.experiment, self.runner = study.experiment, study.runner
        self.sealed, self.test = self._untrained("sealed"), self._untrained("test")
        self.results = results
        self.done = [result for result in results if result.status == "done"]
        self.folder = study.runner.folder.path / "model"
        self.record_folder = study.runner.folder.path / "final"
        self.saves = study.runner.accelerator.is_main_process
        self._in_weights = False
        self._saved: Any = None
        self._ends: Ends | None = None

    def made_before(self) -> tuple[Final, RowScores | None] | None:
        """Records of the same model from an earlier run, if its weights are still there."""
        kept = read_whole(KeptFinal, self.record_folder / DONE, "The final model")
        if kept is None:
            return None
        there = kept.final.sha256 == weight_digests(self.folder)
        if kept.identity != self._identity or not there or not self._read_alike(kept.final):
            return None
        return kept.final, kept.test

    def _read_alike(self, final: Final) -> bool:
        """Whether the files beside the weights are as they were when the model was loaded again."""
        return final.reload is None or final.reload.sha256 == reader_digests(self.folder)

    def checked(self, record: Final) -> Final:
        """Add the digests of the weights, and how plain libraries answer with them."""
        folders = [self.folder / name for name in record.members or ()] if record.kind == "ensemble" else []
        values = self.experiment.data.rows["input"][:NUM_RELOADED]
        found = reload_check(self.experiment.task, self._saved, folders or [self.folder], values)
        notes = [f"The final model cannot be pushed: {found.problem}."] if found.problem else []
        print(*notes, sep="\n", end="\n" * len(notes), file=sys.stderr)
        digests = weight_digests(self.folder)
        return replace(record, sha256=digests, reload=found, notes=[*record.notes, *notes])

    def encode_untrained(self) -> None:
        """Encode sealed and test rows; all processes must call this."""
        for rows in (self.sealed, self.test):
            if rows is not None:
                _ = rows.batches

    def keep(self, record: Final, test: RowScores | None) -> None:
        """Record how the model was made, which marks it as finished."""
        self.record_folder.mkdir(exist_ok=True)
        kept = to_json(KeptFinal(self._identity, record, test))
        files = ends_files(self._ends)
        if files:
            write_files({self.record_folder / name: content for name, content in files.items()})
        write_json(self.record_folder / DONE, with_digests(kept, files))
        rmtree(self.record_folder / CHECKPOINT, ignore_errors=True)
        if self.experiment.config.final == "soup":
            self._drop_members()

    @property
    def _identity(self) -> str:
        """Digest of everything that decides the model and its scores."""
        config, rows = (
            self.experiment.config,
            [part and part.data.fingerprint for part in (self.sealed, self.test)],
        )
        predictions = [reading.predictions for result in self.done for reading in result.readings]
        return json_digest(
            [self.experiment.identity(self.config), config.final, config.metrics, rows, predictions]
        )

    def refit(self) -> tuple[Final, RowScores | None]:
        """Train on all rows; with early stopping, for the median of the folds' best epochs."""
        epochs = self._num_epochs
        config = (
            self.config
            if self.config.solved
            else replace(self.config, num_epochs=epochs, early_stopping=False)
        )
        everything = np.arange(len(self.experiment.uids))
        seed = derive_seed(config.seed, "final")
        fitted = self.runner.fit(everything, seed, "final model", config=config, folder=self.record_folder)
        self._ends = fitted.ends
        self._calibrate(fitted)
        self._save(fitted)
        sealed, test = self._scores(self._logits_by(fitted))
        record = replace(self._record("refit", sealed), weight_decay=fitted.strength, wise=fitted.wise)
        return self._compared(record, fitted), test

    def ensemble(self) -> tuple[Final, RowScores | None]:
        """Keep the folds' models, to average their probabilities."""
        sealed, test = self._scores(self._ensemble_logits)
        folders = {member_name(unit.repeat, unit.fold): folder for unit, folder in self._members}
        if self.saves:
            save_ensemble(folders, self.folder, self._records)
        return replace(self._record("ensemble", sealed), members=list(folders)), test

    def soup(self) -> tuple[Final, RowScores | None]:
        """Average the folds' weights; if that model is worse, train on all rows."""
        start = SharedStart(
            shared_seed(self.config), check_start([result for result in self.done if result.repeat == 0])
        )
        fitted = self._stirred()
        self._calibrate(fitted)
        logits = self._logits_by(fitted)
        sealed = self._score(self.sealed, logits)
        soup_test = self._judge_soup(sealed)
        if soup_test.accepted:
            self._save(fitted)
            test = self._score(self.test, logits)
            members = [member_name(unit.repeat, unit.fold) for unit, _ in self._members]
            record = replace(self._compared(self._record("soup", sealed), fitted), members=members)
        else:
            record, test = self.refit()
            record = replace(record, notes=[refused_words(soup_test), *record.notes])
            if self.saves:
                print(record.notes[0], file=sys.stderr)
        return replace(record, soup=soup_test, start=start), test

    def complete_members(self) -> None:
        """Train the folds again whose models were not kept; all processes must call this.

        Of a grid none are: their number has no bound, and only the best configuration is published.
        A fold is a function of its settings, seed and rows, so that it gives the same model again.
        """
        runner, folder = self.runner, self.runner.folder
        missing = [unit for unit in self._units if self._member_folder(unit) is None]
        wait_for_all(runner.accelerator)  # before one of them is there
        for unit in runner.workers.own(missing):
            name = fold_name(unit.repeat, unit.fold, self.experiment.config.num_repeats)
            fitted = runner.fit_unit(unit, f"{name} again, to keep its model")
            if runner.workers.rank == 0:
                keep_member(self.experiment, folder, unit, fitted.model)
                rmtree(folder.unit(unit.place) / CHECKPOINT, ignore_errors=True)
        wait_for_all(runner.accelerator)

    def _member_folder(self, unit: Unit) -> Path | None:
        return member_folder(self.experiment, self.runner.folder, unit)

    @cached_property
    def _units(self) -> list[Unit]:
        """Folds whose models are joined: those of the first repeat, so that there are k."""
        units = zip(self.experiment.units_of(self.config), self.results, strict=True)
        found = [unit for unit, result in units if unit.repeat == 0 and result.status == "done"]
        if not found:
            raise RunError("No fold of the first repeat was finished, so there are no models to join.")
        return found

    @cached_property
    def _members(self) -> list[tuple[Unit, Path]]:
        found = [(unit, self._member_folder(unit)) for unit in self._units]
        return [(unit, folder) for unit, folder in found if folder is not None]

    @property
    def _num_epochs(self) -> int:
        return final_epochs(self.done)

    @cached_property
    def _out_of_fold(self) -> pa.Table:
        return self.study.predictions(self.config, self.results)

    @cached_property
    def _temperature(self) -> float | None:
        """Temperature of the out-of-fold logits; None for tasks without calibration."""
        found = calibrate(
            self._out_of_fold, self.experiment.task.target.scorer, seed=self.experiment.config.seed
        )
        return None if found is None else found.temperature

    @cached_property
    def _points(self) -> list[Cut]:
        """Cut points of the out-of-fold predictions; empty where nothing is cut."""
        cuts = find_cuts(self._out_of_fold, self.experiment.task.target.scorer)
        return [] if cuts is None else list(cuts.points)

    def _calibrate(self, fitted: Fitted) -> None:
        """Divide the weights by the temperature: all who load them get calibrated probabilities."""
        if self._temperature not in (None, 1.0):
            self._in_weights = divide_logits(fitted.model, self._temperature)

    @property
    def _records(self) -> dict[str, dict[str, Any]]:
        """Files for the model folder that say how its outputs are read: calibration, and cut points."""
        found = {CUTS_FILE: {"points": to_json(self._points)}} if self._points else {}
        return found | self._calibration

    @property
    def _calibration(self) -> dict[str, dict[str, Any]]:
        """The temperature, and whether the weights have it."""
        if self._temperature is None:
            return {}
        how = "probabilities are softmax(logits / temperature), of the pooled out-of-fold logits"
        return {
            CALIBRATION_FILE: {"temperature": self._temperature, "in_weights": self._in_weights, "how": how}
        }

    def _save(self, fitted: Fitted) -> None:
        self._saved = whole_model(self.experiment.task, fitted.model, self.config, self.runner.workers)
        if self.saves:
            save_trained(self.experiment.task, self._saved, self.folder, records=self._records)

    def _record(self, kind: Literal["refit", "ensemble", "soup"], sealed: RowScores | None) -> Final:
        return Final(
            kind=kind,
            path="model",
            num_epochs=self._num_epochs,
            num_rows=len(self.experiment.uids),
            temperature_in_weights=self._in_weights,
            sealed=sealed,
        )

    def _untrained(self, name: str) -> UntrainedRows | None:
        rows = getattr(self.experiment.data, name)
        if rows is None:
            return None
        return UntrainedRows(self.experiment, self.runner.accelerator, self.runner.folder, name, rows)

    def _scores(self, logits: Callable[[UntrainedRows], Logits]) -> tuple[RowScores | None, RowScores | None]:
        return self._score(self.sealed, logits), self._score(self.test, logits)

    def _score(
        self, rows: UntrainedRows | None, logits: Callable[[UntrainedRows], Logits]
    ) -> RowScores | None:
        return None if rows is None else rows.score(logits(rows), self._points, keep=self.saves)

    def _member_logits(self, rows: UntrainedRows, folder: Path) -> Logits:
        return logits_of(self.experiment.task, folder, rows.batches, self.runner.workers)

    def _ensemble_logits(self, rows: UntrainedRows) -> Logits:
        members = (self._member_logits(rows, folder) for _, folder in self._members)
        return average_outputs(members, self.experiment.task.target, self._temperature or 1.0)

    def _logits_by(self, fitted: Fitted) -> Callable[[UntrainedRows], Logits]:
        return lambda rows: rows.logits(fitted.model, self.runner.workers)

    def _compared(self, record: Final, fitted: Fitted) -> Final:
        """Add the agreement with the folds' models, and a note if it is too low."""
        table = self.runner.scorer.predicted(
            fitted, np.arange(len(self.experiment.uids)), self.runner.workers
        )
        found = agreement(table, self._out_of_fold, self.done, self.experiment.task.target)
        note = agreement_note(found)
        return replace(record, agreement=found, notes=[note] if note else [])

    def _stirred(self) -> Fitted:
        """A model of averaged weights, with fresh BatchNorm statistics in layers that are not frozen."""
        task, accelerator = self.experiment.task, self.runner.accelerator
        folders = [folder for _, folder in self._members]
        model = placed(average_weights(load_members(task, folders)), accelerator.device)
        freezing = freeze_for(model, self.config)
        fitted = Fitted(model, freezing, self.runner.replay.batches(model, freezing))
        with accelerator.autocast():
            renew_statistics(model, freezing, fitted.learner, map(fitted.batches.collate, self._pass()))
        return fitted

    def _pass(self) -> list[Positions]:
        """All rows once, in training batches."""
        order = epoch_order(np.arange(len(self.runner.replay.encoded)), shared_seed(self.config), 1)
        return effective_batches(order, self.config.batch_size, 1)

    def _judge_soup(self, sealed: RowScores | None) -> SoupTest:
        metric, scorer = self.experiment.task.target.scorer.primary_metric, self.experiment.task.target.scorer
        assert self.sealed is not None  # the settings say so
        assert sealed is not None
        scores = [
            self.sealed.score(self._member_logits(self.sealed, folder), ()).scores.get(metric)
            for _, folder in self._members
        ]
        return judge_soup(
            metric, sealed.scores.get(metric), scores, higher_is_better=scorer.higher_is_better[metric]
        )

    def _drop_members(self) -> None:
        """Delete the folds' models, which are not published."""
        for unit, _ in self._members:
            rmtree(self.runner.folder.unit(unit.place) / "model", ignore_errors=True)
