"""Run an experiment: decide which folds run on which process, and collect their results."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import pyarrow as pa
from accelerate import Accelerator

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import RunError
from hf_transfer.machine.files import load_table
from hf_transfer.machine.processes import wait_for_all
from hf_transfer.replay.replayed import Replay
from hf_transfer.runs.aggregate import FoldResults, best_of, frugal_of
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.run_folder import RunFolder, fold_place, place_of
from hf_transfer.study.engine import Engine
from hf_transfer.study.estimate import predicted_words, say_duration
from hf_transfer.study.experiment import Experiment, Unit
from hf_transfer.study.fold_runner import FoldRunner


class Study:
    """An experiment with the runner of its folds.

    Args:
        experiment: What to run.
        accelerator: Where to run.
        folder: Where results are kept.
        engine: Trains the folds and the final model elsewhere; None trains them here.
        make_replay: Gives the batches of all rows; made from the rows when not given.
    """

    def __init__(
        self,
        experiment: Experiment,
        accelerator: Accelerator,
        folder: RunFolder,
        engine: Engine | None = None,
        make_replay: Callable[[], Replay] | None = None,
    ) -> None:
        self.experiment, self.engine = experiment, engine
        self.runner = FoldRunner(experiment, accelerator, folder, make_replay)

    def of(self, experiment: Experiment) -> "Study":
        """Make a study of another experiment, with the same processes and folder."""
        return Study(experiment, self.runner.accelerator, self.runner.folder, self.engine)

    def run(self) -> None:
        """Train and score all unfinished folds."""
        units = self.experiment.units
        left = [unit for unit in units if self.runner.finished(unit) is None]
        if not left and self.experiment.config.final == "none":
            return
        if self.engine is None:
            self.runner.replay.prepare()  # for the final model too
            say_duration(self.runner, left)
        self.train(units)

    def price(self) -> str:
        """Predict what the unfinished folds and the final model cost, in a sentence or two."""
        left = [unit for unit in self.experiment.units if self.runner.finished(unit) is None]
        if self.engine is not None:
            return self.engine.price(self, left)
        self.runner.replay.prepare()
        return predicted_words(self.runner, left)

    def train(self, units: Sequence[Unit]) -> None:
        """Train and score the unfinished ones of some folds; all processes must call this."""
        accelerator, runner = self.runner.accelerator, self.runner
        found = [runner.finished(unit) for unit in units]
        wait_for_all(accelerator)  # all have looked before anyone writes
        if all(found):
            return
        if self.engine is not None:
            self.engine.train(self, units)
        else:
            runner.check_environment(filter(None, found))
            self.train_here(units)

    def train_here(self, units: Sequence[Unit]) -> None:
        """Train and score the unfinished ones of some folds in this launch; all processes must call this."""
        accelerator, runner = self.runner.accelerator, self.runner
        for together in self.heads(units) if not runner.workers.sharded else ():
            # So quick that sharing it would only make the bits depend on who takes part.
            if accelerator.is_main_process:
                runner.run_heads(together)
            wait_for_all(accelerator)
        for unit in runner.workers.own(units):
            if runner.finished(unit) is None:
                runner.run(unit)
        wait_for_all(accelerator)

    def heads(self, units: Sequence[Unit]) -> list[list[Unit]]:
        """Group folds whose heads can train together: their configurations differ in rates only."""
        alike: defaultdict[RunConfig, list[Unit]] = defaultdict(list)
        at_any_rate = {config: config.at_any_rate for config in {unit.config for unit in units}}
        for unit in units if not self.experiment.decision.of_folds else ():
            alike[at_any_rate[unit.config]].append(unit)
        return list(alike.values())

    def control_unit(self, unit: Unit, name: str, *, purpose: str) -> Unit:
        """Copy a fold for a control run, with a folder of its own."""
        inside = f"{place_of(unit.config, self.experiment.grid)}/{name}".lstrip("/")
        return replace(unit, place=fold_place(inside, unit.repeat, unit.fold), purpose=purpose)

    def probe_units(self, config: RunConfig, part: str | None = None) -> list[Unit]:
        """The folds of a configuration's first repeat, for its closed-form probe, or that of a part alone."""
        name, purpose = ("probe", "closed-form probe") if part is None else (f"{part}-alone", f"{part} alone")
        first = (unit for unit in self.experiment.units_of(config) if unit.repeat == 0)
        return [self.control_unit(unit, name, purpose=purpose) for unit in first]

    def results(self) -> dict[RunConfig, list[FoldResult]]:
        """Load the stored results of all folds, by configuration."""
        experiment = self.experiment
        results = {config: self.results_of(experiment.units_of(config)) for config in experiment.grid}
        everything = [result for folds in results.values() for result in folds]
        if all(result.status == "failed" for result in everything):
            raise RunError(f"Every fold failed. The first: {everything[0].error}")
        return results

    def results_of(self, units: Sequence[Unit]) -> list[FoldResult]:
        """Load the stored results of some folds."""
        return [self.runner.result(unit) for unit in units]

    def choose(self, results: FoldResults) -> RunConfig:
        """Choose the configuration to report and publish."""
        scorer, costs = self.experiment.task.target.scorer, self.experiment.decision.costs
        return frugal_of(results, scorer, costs) if costs else best_of(results, scorer)

    def predictions(self, config: RunConfig, results: Sequence[FoldResult]) -> pa.Table:
        """Load all out-of-fold predictions of a configuration."""
        return self.predictions_of(self.experiment.units_of(config), results)

    def predictions_of(self, units: Sequence[Unit], results: Sequence[FoldResult]) -> pa.Table:
        """Load the out-of-fold predictions of some folds, without failed ones."""
        done = [u for u, result in zip(units, results, strict=True) if result.status == "done"]
        folders = [self.runner.folder.unit(unit.place) for unit in done]
        return pa.concat_tables([load_table(folder / "predictions.parquet") for folder in folders])
