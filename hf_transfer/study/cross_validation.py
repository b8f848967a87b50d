"""Cross-validate a configuration, and train the final model."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator
from torch import nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.config.setting import is_auto
from hf_transfer.data.labelled import LabelledData
from hf_transfer.data.pretrained import learned_rows
from hf_transfer.data.rows import label_rows
from hf_transfer.data.sealing import seal_rows
from hf_transfer.errors import ConfigError, DataError, DoneEarlyError
from hf_transfer.machine.files import write_table
from hf_transfer.machine.launcher import check_launched
from hf_transfer.machine.memory import noted
from hf_transfer.machine.processes import blind_to, wait_for_all
from hf_transfer.machine.signals import stop_signals
from hf_transfer.machine.wording import some, visible
from hf_transfer.runs.aggregate import FoldResults
from hf_transfer.runs.base_origin import LEARNED_ROWS
from hf_transfer.runs.results import CrossValidationResult
from hf_transfer.runs.run_folder import RunFolder
from hf_transfer.scores.evaluate_modules import hub_metric
from hf_transfer.study.added import open_source
from hf_transfer.study.controls import run_controls
from hf_transfer.study.decision import Decision
from hf_transfer.study.defaults import in_common, model_facts, num_repeats, settle, settled_words
from hf_transfer.study.disk import check_study_room
from hf_transfer.study.engine import Engine
from hf_transfer.study.experiment import Experiment
from hf_transfer.study.final.final_model import make_final
from hf_transfer.study.first_batch import check_first_batch, first_batch
from hf_transfer.study.leaks import find_leak
from hf_transfer.study.probing import Probing
from hf_transfer.study.study import Study
from hf_transfer.study.summary import build_results
from hf_transfer.study.wise import check_wise
from hf_transfer.study.zero_shot import judge_of
from hf_transfer.tasks.task import Task
from hf_transfer.training.workers import make_accelerator, others_needed, shares_model

if TYPE_CHECKING:
    from datasets import Dataset


def cross_validate(
    task: Task,
    dataset: "Dataset | LabelledData",
    config: RunConfig,
    *,
    accelerator: Accelerator | None = None,
    grid: Sequence[RunConfig] = (),
    engine: Engine | None = None,
) -> CrossValidationResult:
    """Score `config` on `task` by k-fold cross-validation, and make the model to publish.

    Everything is written to `config.output_dir` as it is found. Called again with the same
    arguments, it resumes.

    Args:
        task: What to learn.
        dataset: Labelled rows, from `open_dataset` or any `datasets.Dataset`. Keep test rows out.
        config: How to learn.
        accelerator: Where to run; made from the launcher's environment when not given.
        grid: Configurations to try under the same folds, where lists in `config` do not say it; they
            differ from it in how to learn only.
        engine: Trains folds and final model elsewhere; None trains them here.

    Raises:
        DoneEarlyError: With what it will cost, if `dry_run` asks for that alone; when a `part` of it is done.
        TransferError: If a setting, the data or the base model is not usable; or every fold failed.
    """
    if accelerator is None:
        check_launched(config.folds_per_device)
        accelerator = make_accelerator(config)
    began = time.monotonic()
    data = dataset
    if not isinstance(data, LabelledData):
        data = label_rows(data, config, type(task), target=type(task.target))
    folder = RunFolder(config.output_dir)
    experiment = Experiment(task, seal_rows(task, data, config), config, Decision(tuple(grid)))
    study = check_study(Study(experiment, accelerator, folder, engine))
    if config.dry_run:
        raise DoneEarlyError(study.price())
    with at_work(folder, study.experiment.config, accelerator):
        return run_study(study, began)


@contextmanager
def at_work(folder: RunFolder, config: RunConfig, accelerator: Accelerator) -> Iterator[None]:
    """Lock a run's folder, and handle stop signals; all processes must enter this.

    Raises:
        ConfigError: If another run is at work in the folder, or it holds something else.
        Interrupted: If the process was asked to stop; the same call resumes.
    """
    held = folder.held(config) if accelerator.is_main_process else nullcontext()
    with stop_signals.handled(), others_needed(), held:
        wait_for_all(accelerator)
        _check_one_folder(folder, accelerator)
        yield


def _check_one_folder(folder: RunFolder, accelerator: Accelerator) -> None:
    """Stop before anything is trained where each machine would write into a folder of its own.

    Raises:
        ConfigError: Naming the machines that do not see the run's folder.
    """
    if blind := blind_to(accelerator, folder.path):
        raise ConfigError(
            f"output_dir={str(folder.path)!r} is not one folder for all processes: {', '.join(blind)} can't "
            "see what the main process writes there. Give an --output_dir on a disk that all machines share, "
            "or run on one machine."
        )


def check_study(study: Study) -> Study:
    """Check folds, base model, metrics and layer choices before anything is written.

    Returns:
        The study with all chosen that its settings left to the kit.

    Raises:
        ConfigError: If the model cannot be had, a choice of layers is wrong, or a setting does not go with
            the labels.
        DataError: If the rows cannot be split as asked.
        HubError: If a metric of the Hub cannot be had.
        DiskFullError: If what the run leaves will not fit.
    """
    task, config = study.experiment.task, study.experiment.config
    _check_input(study.experiment)
    _check_target(study.experiment)
    _ = study.experiment.base_origin  # refuses rows that the base model has seen
    if config.zero_shot:
        judge_of(study.experiment)
    for name in config.add_source:
        open_source(study.experiment, name)
    batch = first_batch(task, study.experiment.data.rows)
    for name in config.metrics:
        hub_metric(name)
    model = task.build_model()
    device = study.runner.accelerator.device
    if shares_model(config, study.runner.accelerator):  # it may be too large for one
        device = torch.device("cpu")
    check_first_batch(task, model, batch, device)
    study = study.of(with_defaults(study.experiment, model))
    check_wise(study.experiment, model)
    check_study_room(study, model)  # of each configuration, which it freezes
    return study


def _check_input(experiment: Experiment) -> None:
    """Stop at a task that reads other inputs than the rows have, where the rows say which.

    Raises:
        ConfigError: Saying how to take the right one.
    """
    task, data = experiment.task, experiment.data
    if task.input.name != data.input.name:
        raise ConfigError(
            f"The rows are {data.input.nouns}, and the task is for {task.input.nouns}. Take "
            f"data.task(config, data.target), or open them with open_dataset(config, {task.input.name!r})."
        )
    if task.input.table != data.input.table:
        raise ConfigError(
            f"The rows have a table beside their inputs, by table_columns={experiment.config.table_columns}, "
            "and the task was made without it. Take data.task(config, data.target)."
        )


def _check_target(experiment: Experiment) -> None:
    """See that the task learns what the rows have, by settings that go with it."""
    target, of_rows = experiment.task.target, experiment.data.target
    if (target.name, target.label_names) != (of_rows.name, of_rows.label_names):
        raise ConfigError(
            f"The labels of the rows were read as {of_rows.name} ({some(of_rows.label_names, noun='name')}), "
            f"and {type(experiment.task).__name__} was made for {target.name} "
            f"({some(target.label_names, noun='name')}). Make it with data.target."
        )
    problems = [problem for config in experiment.grid for problem in target.problems(config)]
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))


def with_defaults(experiment: Experiment, model: nn.Module) -> Experiment:
    """Replace every `auto` by a value, from the model's kind and the number of rows."""
    pretrained = experiment.task.base.has_weights and not experiment.config.from_scratch
    facts = model_facts(model, pretrained=pretrained, solver=experiment.task.target.solvers[0])
    asked = experiment.config.num_repeats
    repeats = num_repeats(experiment.config, facts, experiment.num_rows)
    experiment = replace(
        experiment.decided(
            configs=tuple(replace(one, num_repeats=repeats) for one in experiment.decision.configs)
        ),
        config=replace(experiment.config, num_repeats=repeats),
    )
    learned = max(len(plan.train(fold)) for plan in experiment.plans for fold in plan.scored_folds)
    settled = tuple(settle(config, model, facts, learned) for config in experiment.grid)
    words = [settled_words(*both, learned) for both in zip(experiment.grid, settled, strict=True)]
    if is_auto(asked) and repeats > 1:
        words.append(
            f"The folds are repeated {repeats} times, which a small model or few rows have time for: "
            "conclusions reach further. --num_repeats 1 takes a part of the time."
        )
    config = in_common(experiment.config, settled)
    decided = experiment.decided(
        configs=() if config.grid() == settled else settled,
        words=tuple(dict.fromkeys(filter(None, words))),
    )
    return replace(decided, config=config)


def run_study(study: Study, began: float) -> CrossValidationResult:
    """Run a study in its open folder, and write the results; `began` is its monotonic start time."""
    with noted(study.runner.notes):
        return _run_study(study, began)


def _run_study(study: Study, began: float) -> CrossValidationResult:
    experiment, accelerator, folder = study.experiment, study.runner.accelerator, study.runner.folder
    if accelerator.is_main_process:
        write_table(folder.path / "folds.parquet", experiment.fold_table())
        for words in (*experiment.decision.words, *experiment.split_notes):
            print(visible(words), file=sys.stderr)
    study.run()
    wait_for_all(accelerator)
    fold_results = study.results()
    best = study.choose(fold_results)
    probing = Probing(study.runner, best)
    controls = run_controls(study, probing, fold_results[best])
    controls = replace(controls, leak=find_leak(study, probing))
    made = make_final(study, best, fold_results[best])
    if accelerator.is_main_process:
        seconds = _seconds(study, fold_results, time.monotonic() - began)
        result = build_results(study, fold_results, best, made=made, controls=controls, seconds=seconds)
        result.save(folder.path)
        if made[0].path:
            _keep_learned_rows(study)
    wait_for_all(accelerator)
    return CrossValidationResult.load(folder.path)


def _keep_learned_rows(study: Study) -> None:
    """Keep digests of what the model learned from, by which a run that begins with it finds shared rows."""
    experiment, folder = study.experiment, study.runner.folder
    try:
        digests = learned_rows(experiment.task.base, experiment.data, experiment.config)
    except DataError as error:  # the run itself is whole
        print(f"No digests of the rows are kept: {error}", file=sys.stderr)
        return
    folder.keep_rows(LEARNED_ROWS, digests)


def _seconds(study: Study, fold_results: FoldResults, passed: float) -> float:
    """Duration of a run, including parts that were done before it was stopped."""
    trained = sum(result.seconds for results in fold_results.values() for result in results)
    workers = study.runner.workers
    processes = 1 if workers.together else workers.accelerator.num_processes
    return max(passed, trained / processes)
