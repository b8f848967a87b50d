"""Run a search: propose, select, score, publish; or score all combinations by the real folds."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from accelerate import Accelerator

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.labelled import LabelledData
from hf_transfer.data.rows import label_rows
from hf_transfer.data.sealing import seal_rows
from hf_transfer.errors import ConfigError
from hf_transfer.machine.files import write_json
from hf_transfer.machine.launcher import check_launched
from hf_transfer.machine.progress import progress_bar
from hf_transfer.report.words.search import search_answers
from hf_transfer.runs.records import Results, Tried
from hf_transfer.runs.run_folder import RunFolder
from hf_transfer.runs.schema import to_json
from hf_transfer.runs.search_record import Judged, Mode, Search, SearchCandidate
from hf_transfer.selection.rank.ranking import rank_models
from hf_transfer.selection.rank.writing import write_ranking
from hf_transfer.selection.search.budget import Budget, OverBudget, Prices, measure
from hf_transfer.selection.search.candidates import SETTLED, Candidate, propose
from hf_transfer.selection.search.climbing import most_trials
from hf_transfer.selection.search.cost import SearchCost
from hf_transfer.selection.search.modes import (
    MODES,
    WHOLE_PARTS,
    Selection,
    rows_to_choose_by,
    select,
    usual_mode,
)
from hf_transfer.selection.search.report import with_selection
from hf_transfer.selection.search.trials import Trial
from hf_transfer.study.cross_validation import at_work, check_study, run_study
from hf_transfer.study.engine import Engine
from hf_transfer.study.experiment import Experiment
from hf_transfer.study.fold_runner import FoldRunner
from hf_transfer.study.study import Study
from hf_transfer.tasks.task import Task
from hf_transfer.training.workers import make_accelerator

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class SearchOptions:
    """Options of a search. Raises `ConfigError` for invalid ones.

    Attributes:
        mode: `design-slice`, `nested` or `shared`; the usual one for the number of rows when None.
        exhaustive: Every candidate at every rate under the real folds instead.
        max_hours: Stop in good order when they are over.
    """

    mode: Mode | None = None
    exhaustive: bool = False
    max_hours: float | None = None

    def __post_init__(self) -> None:
        if self.mode is not None and self.mode not in MODES:
            raise ConfigError(f"mode={self.mode!r} is not one of {', '.join(MODES)}.")
        if self.max_hours is not None and not self.max_hours > 0:
            raise ConfigError(f"max_hours={self.max_hours!r} must be above 0, such as 0.5.")
        if self.exhaustive and self.mode:
            raise ConfigError("exhaustive scores everything under the real folds; leave mode out.")


def search(
    task: Task,
    dataset: "Dataset | LabelledData",
    config: RunConfig,
    options: SearchOptions | None = None,
    *,
    accelerator: Accelerator | None = None,
    engine: Engine | None = None,
) -> Search:
    """Find which layers should learn and at which rate, and score the choice by cross-validation.

    Trainings on few rows leave full training, or a choice and full training, which the real folds
    judge. Everything is written to `config.output_dir`, `search.json` beside the files of an ordinary
    run. Called again with the same arguments, it resumes.

    Args:
        task: What to learn.
        dataset: Labelled rows.
        config: How to learn, but for `trainable`, `layer_decay` and the rate. `learning_rates`
            replace the usual ones.
        options: How to search.
        accelerator: Where to run.
        engine: Trains the folds that judge the choice, and the final model, elsewhere; trials run here.

    Returns:
        The content of search.json.

    Raises:
        TransferError: As `cross_validate` does; or if the base model has nothing pretrained.
    """
    options = options or SearchOptions()
    if config.parallel == "fsdp":
        raise ConfigError(
            "parallel='fsdp' trains one model at a time, and a search many. Leave it out and search with "
            "most layers frozen, on a device each, or give `run` lists such as --learning_rates 1e-5,3e-5."
        )
    if accelerator is None:
        check_launched(config.folds_per_device)
    study = check_study(open_study(task, dataset, config, accelerator, engine))
    with at_work(study.runner.folder, study.experiment.config, study.runner.accelerator):
        return _search(study, options, _candidates(study.experiment, config))


def _search(study: Study, options: SearchOptions, candidates: Sequence[Candidate]) -> Search:
    budget = Budget(time.monotonic(), options.max_hours)
    if options.exhaustive:
        return _exhaustive(study, candidates, budget)
    configs = tuple(candidate.config for candidate in candidates)
    study = study.of(study.experiment.decided(configs=configs))
    study.runner.replay.prepare()
    prices = measure(study.runner)
    mode = options.mode or usual_mode(study.experiment)
    about = Search(mode=mode, candidates=[_candidate(one) for one in candidates])
    trials, selection = _select(study, candidates, mode, budget)
    about = with_selection(about, study.experiment, trials, selection)
    if selection is not None:
        about = _judge(about, selection, prices, budget)
    if about.judged:
        _rank(study)
    return _kept(study.runner, about, budget)


def _select(
    study: Study, candidates: Sequence[Candidate], mode: Mode, budget: Budget
) -> tuple[list[Trial], Selection | None]:
    """Run the trials with a progress bar; None if the time is up before they are done."""
    trials: list[Trial] = []
    nested = mode == "nested"
    total = len(most_trials(candidates, thorough=nested)) * (len(study.experiment.units) if nested else 1)
    with progress_bar("trials", total=total, unit="trial") as bar:

        def on_trial(trial: Trial, found: bool) -> None:
            trials.append(trial)
            bar.set_postfix_str(f"{trial.entry.title}: {trial.loss:.3f}", refresh=False)
            bar.update()
            if not found:
                budget.check()

        try:
            return trials, select(study, candidates, mode, on_trial)
        except OverBudget:
            return trials, None


def _kept(runner: FoldRunner, about: Search, budget: Budget) -> Search:
    """Write search.json, and return its content."""
    words = {name: found.words for name, found in search_answers(about)._asdict().items()}
    about = replace(about, seconds=time.monotonic() - budget.began, verdicts=words)
    if runner.accelerator.is_main_process:
        write_json(runner.folder.path / "search.json", to_json(about))
    return about


def _rank(study: Study) -> None:
    """Compare the model's frozen features with those of random weights."""
    config = study.experiment.config
    if study.runner.accelerator.num_processes > 1 or not config.dataset:
        return  # rank runs in one process, and opens the data set by its name
    ranking = rank_models(config, [config.base_model], kind=study.experiment.data.input.name)
    write_ranking(ranking, study.runner.folder.path)


def open_study(
    task: Task,
    dataset: "Dataset | LabelledData",
    config: RunConfig,
    accelerator: Accelerator | None = None,
    engine: Engine | None = None,
) -> Study:
    """Make a study of all rows; computes and writes nothing yet."""
    data = dataset if isinstance(dataset, LabelledData) else label_rows(dataset, config, type(task))
    accelerator = accelerator or make_accelerator(config)
    experiment = Experiment(task, seal_rows(task, data, config), config)
    return Study(experiment, accelerator, RunFolder(config.output_dir), engine)


def predict_cost(study: Study, options: SearchOptions) -> SearchCost:
    """Estimate the cost of a search in seconds, from the time of one forward pass.

    Args:
        study: As `open_study` gives it.
        options: How to search.
    """
    config = study.experiment.config
    study = check_study(study)
    experiment = study.experiment
    candidates = _candidates(experiment, config)
    prices, num_folds, rows = measure(study.runner), config.num_folds, len(experiment.uids)
    mode = options.mode or usual_mode(experiment)
    nested = mode == "nested"
    trials = most_trials(candidates, thorough=nested)
    entries = [candidate for candidate in candidates for _ in candidate.rates]
    dearest = sorted(candidates, key=lambda candidate: candidate.cost)[-2:]
    judged = rows if mode != "design-slice" else rows * 4 // 5
    selections = len(experiment.units) if nested else 1
    selecting = sum(prices.trial(one, rows_to_choose_by(experiment, mode)) for one in trials)
    if nested:
        learned = rows * (num_folds - 1) // num_folds * (WHOLE_PARTS - 1) // WHOLE_PARTS
        selecting += sum(prices.training(one, learned) for one in dearest)
    return SearchCost(
        mode=mode,
        candidates=[_candidate(candidate) for candidate in candidates],
        trials=selections * len(trials),
        forward_seconds=prices.forward * rows,
        selection_seconds=selections * selecting,
        # When the dearest candidates are what is chosen.
        judging_seconds=prices.judging(dearest if not nested else dearest[-1:], judged, num_folds),
        exhaustive_seconds=prices.judging(entries, rows, num_folds),
    )


def _candidates(experiment: Experiment, config: RunConfig) -> tuple[Candidate, ...]:
    """Candidates according to the settings."""
    known = replace(config, num_repeats=experiment.config.num_repeats)
    return propose(experiment.task, known, len(experiment.train_rows(experiment.units[0])))


def _judge(about: Search, selection: Selection, prices: Prices, budget: Budget) -> Search:
    """Score the selected entries by the real folds; if time is short only the first, or none."""
    study, candidates = selection.study, [entry.candidate for entry in selection.entries]
    experiment = study.experiment

    def needed(some: Sequence[Candidate]) -> float:
        return prices.judging(some, experiment.num_rows, experiment.config.num_folds)

    if needed(candidates) > budget.left and len(experiment.decision.configs) > 1:
        about = replace(about, skipped=f"There was no time to score {candidates[1].name} beside it.")
        study = study.of(experiment.decided(configs=experiment.decision.configs[:1], costs=()))
        candidates = candidates[:1]
    if needed(candidates) > budget.left:
        return replace(about, partial="There was no time to score the choice by the real folds.")
    result = run_study(study, time.monotonic())
    return replace(about, judged=_judged(study.experiment.num_rows, result.results))


def _exhaustive(study: Study, candidates: Sequence[Candidate], budget: Budget) -> Search:
    """Every candidate at every rate, as one grid."""
    given = tuple(candidate.at(rate) for candidate in candidates for rate in candidate.rates)
    study = study.of(study.experiment.decided(configs=given, settled=SETTLED))
    result = run_study(study, budget.began)
    listed = [_candidate(candidate) for candidate in candidates]
    about = Search(
        mode="exhaustive", candidates=listed, judged=_judged(study.experiment.num_rows, result.results)
    )
    _rank(study)
    return _kept(study.runner, about, budget)


def _judged(num_rows: int, results: Results) -> Judged:
    config, metric = results.config, results.primary_metric
    return Judged(
        metric=metric,
        num_rows=num_rows,
        score=results.scores[metric],
        trainable=config.trainable,
        layer_decay=config.layer_decay,
        learning_rate=config.learning_rate,
        head_solver=config.head_solver,
        num_epochs=config.num_epochs,
        parameters=results.trainable.parameters,
        total=results.trainable.total,
        tried=[entry.without_folds for entry in results.grid] if results.grid else [_alone(results)],
    )


def _alone(results: Results) -> Tried:
    """The one configuration of a run without a grid."""
    names = ("trainable", "learning_rate", "head_solver")
    settings = {name: getattr(results.config, name) for name in names}
    return Tried(settings=settings, best=True, scores=results.scores)


def _candidate(candidate: Candidate) -> SearchCandidate:
    return SearchCandidate(
        name=candidate.name,
        trainable=candidate.config.trainable,
        layer_decay=candidate.config.layer_decay,
        head_start=candidate.config.head_start,
        head_solver=candidate.config.head_solver,
        num_epochs=candidate.config.num_epochs,
        learning_rates=list(candidate.rates),
        parameters=candidate.parameters,
        cost=candidate.cost,
    )
