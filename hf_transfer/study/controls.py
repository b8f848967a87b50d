"""Control runs of the reported configuration: fewer rows, shuffled labels, a probe.

They answer what more rows would give, whether the model can learn rows by heart, whether labels leak,
and what a head in closed form reaches. Nothing is chosen by them: each reads its held-out rows once,
under a purpose of its own.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.labelled import LabelledData
from hf_transfer.errors import RunError
from hf_transfer.folds import FoldPlan, derive_seed
from hf_transfer.replay.replayed import Replay
from hf_transfer.runs.controls import Controls, curve_part, probe_part, shuffled_part
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.part_scores import TOGETHER, parts_part
from hf_transfer.runs.records import LearningCurve, PartScores, Probe, ShuffledLabels
from hf_transfer.runs.run_folder import fold_place, place_of
from hf_transfer.scores.learning_curve import PERCENTS
from hf_transfer.study.experiment import Experiment, Unit
from hf_transfer.study.fold_runner import FoldRunner
from hf_transfer.study.probing import run_probe

if TYPE_CHECKING:
    from hf_transfer.study.study import Study

_ROWS_TO_COMPARE = 16  # of which the inputs are made under both labels


def run_controls(study: "Study", config: RunConfig, results: Sequence[FoldResult]) -> Controls:
    """Run the requested controls and the probe; all processes must call this.

    Args:
        study: The finished study.
        config: The configuration that is reported; of a grid, the best.
        results: Of its folds.

    Returns:
        What they found; no probe where it would cost more than seconds.
    """
    asked = study.experiment.config
    if asked.learning_curve or asked.shuffled_labels:
        study.runner.replay.prepare()
    return Controls(
        _learning_curve(study, config, results) if asked.learning_curve else None,
        _shuffled(study, config, results) if asked.shuffled_labels else None,
        *_probes(study, config),
    )


def _learning_curve(study: "Study", config: RunConfig, results: Sequence[FoldResult]) -> LearningCurve:
    by_percent = {percent: _part_units(study, config, percent) for percent in PERCENTS}
    study.train([unit for units in by_percent.values() for unit in units])
    results_of = {percent: study.results_of(units) for percent, units in by_percent.items()}
    by_percent[100], results_of[100] = study.experiment.units_of(config), list(results)

    def predictions_of(percent: int) -> pa.Table:
        return study.predictions_of(by_percent[percent], results_of[percent])

    num_folds, scorer = study.experiment.plans[0].num_folds, study.experiment.task.target.scorer
    return curve_part(results_of, predictions_of, scorer, num_folds=num_folds, seed=config.seed)


def _part_units(study: "Study", config: RunConfig, percent: int) -> list[Unit]:
    """Folds of a configuration on a percentage of their training rows."""
    units = [replace(unit, percent=percent) for unit in study.experiment.units_of(config)]
    purpose = f"learning curve, {percent} %"
    return [_control_unit(study, unit, f"curve-{percent}", purpose=purpose) for unit in units]


def _control_unit(study: "Study", unit: Unit, name: str, *, purpose: str) -> Unit:
    """Copy a fold for a control run, with a folder of its own."""
    inside = f"{place_of(unit.config, study.experiment.grid)}/{name}".lstrip("/")
    return replace(unit, place=fold_place(inside, unit.repeat, unit.fold), purpose=purpose)


def _probes(study: "Study", config: RunConfig) -> tuple[Probe | None, PartScores | None]:
    """Solve the head of each fold of the first repeat in closed form, and of each part of an input alone."""
    parts, scorer = study.experiment.task.input.parts, study.experiment.task.target.scorer
    if config.solved and not parts:
        return None, None  # a closed form made the head anyway
    units = {name: _probe_units(study, config, name) for name in (None, *parts)}
    if not run_probe(study.runner, config, units):
        return None, None
    results = {name or TOGETHER: study.results_of(some) for name, some in units.items()}
    whole = None if config.solved else probe_part(results[TOGETHER], scorer)
    ordered = {name: results[name] for name in (*parts, TOGETHER)}
    num_folds = study.experiment.plans[0].num_folds
    return whole, parts_part(ordered, scorer, num_folds=num_folds) if parts else None


def _probe_units(study: "Study", config: RunConfig, part: str | None) -> list[Unit]:
    name, purpose = ("probe", "closed-form probe") if part is None else (f"{part}-alone", f"{part} alone")
    units = [unit for unit in study.experiment.units_of(config) if unit.repeat == 0]
    return [_control_unit(study, unit, name, purpose=purpose) for unit in units]


def _shuffled(study: "Study", config: RunConfig, true: Sequence[FoldResult]) -> ShuffledLabels:
    """Train some folds on shuffled labels, and judge their scores."""
    chosen = study.experiment.units_of(config)[: study.experiment.config.shuffled_labels]
    units = [_control_unit(study, unit, "shuffled", purpose="shuffled labels") for unit in chosen]
    # Flat, as rows that were chosen from others are written again with each new column.
    data = replace(study.experiment.data, rows=study.experiment.data.rows.flatten_indices())
    runners = [shuffled_runner(study.runner, data, unit) for unit in units]
    for runner, unit in study.runner.workers.own(list(zip(runners, units, strict=True))):
        if runner.finished(unit) is None:
            runner.run(unit)
    study.runner.accelerator.wait_for_everyone()
    results = [runner.result(unit) for runner, unit in zip(runners, units, strict=True)]
    return _judged(study, units, results, true[: len(units)])


def _judged(
    study: "Study", units: Sequence[Unit], results: Sequence[FoldResult], true: Sequence[FoldResult]
) -> ShuffledLabels:
    """Compare the scores on shuffled labels with those on true labels."""
    if all(result.status == "failed" for result in results):
        raise RunError(f"Every training on shuffled labels failed. The first: {results[0].error}")
    experiment, table = study.experiment, study.predictions_of(units, results)
    scorer, seed = experiment.task.target.scorer, experiment.config.seed
    return shuffled_part(results, true, table, scorer, seed=seed, unit=_exchanged(experiment))


def _exchanged(experiment: Experiment) -> str:
    """Name of the unit that is permuted: the words of a sentence, rows, or groups."""
    return experiment.task.target.exchanged(experiment.data.rows["label"][:], experiment.coded.groups)


def shuffled_runner(runner: FoldRunner, data: LabelledData, unit: Unit) -> FoldRunner:
    """Make a runner of the same rows and folds under labels shuffled for one fold."""
    experiment, seed = runner.experiment, derive_seed(unit.seed, "shuffled")
    labels = _shuffled_rows(experiment, experiment.plans[unit.repeat], seed)
    data = _with_labels(data, labels, f"shuffle {seed}")
    shuffled = replace(experiment, data=data, given_plans=experiment.plans)
    return FoldRunner(
        shuffled, runner.accelerator, runner.folder, lambda: _relabelled_replay(runner, shuffled)
    )


def _relabelled_replay(runner: FoldRunner, shuffled: Experiment) -> Replay:
    """The stored features under shuffled labels: frozen layers see no label.

    Raises:
        RunError: If the task makes other inputs of rows when their labels change.
    """
    from datasets import Dataset, concatenate_datasets

    _refuse_labels_in_inputs(runner.experiment, shuffled.data)
    encoded, row_of = runner.replay.encoded, runner.replay.plain.row_of.tolist()
    target, new = shuffled.task.target, shuffled.data.rows["label"][:]
    labels = list(target.relabelled(encoded["labels"][:], row_of, new))
    column = Dataset.from_dict({"labels": labels})
    return runner.replay.relabelled(
        concatenate_datasets([encoded.remove_columns(["labels"]), column], axis=1)
    )


def _shuffled_rows(experiment: Experiment, plan: FoldPlan, seed: int) -> list[Any]:
    labels = experiment.data.rows["label"][:]
    groups = experiment.coded.groups
    return experiment.task.target.shuffled(labels, plan.fold_of_row(), seed=seed, groups=groups)


def _with_labels(data: LabelledData, labels: list[Any], name: str) -> LabelledData:
    from datasets import Dataset, concatenate_datasets

    rows = data.rows
    column = Dataset.from_dict({"label": labels}, features=rows.select_columns(["label"]).features)
    rows = concatenate_datasets([rows.remove_columns(["label"]), column], axis=1)
    return replace(data, rows=rows, test=None, fingerprint=f"{name} of {data.fingerprint}")


def _refuse_labels_in_inputs(original: Experiment, shuffled: LabelledData) -> None:
    """Stop if a task's inputs change with the labels, which is a leak in itself."""
    before, after = original.data.rows["label"][:], shuffled.rows["label"][:]
    changed = [row for row, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]]
    positions = changed[:_ROWS_TO_COMPARE]
    made = [
        original.task.encode(rows.select(positions)[:], positions)
        for rows in (original.data.rows, shuffled.rows)
    ]
    for name in made[0]:
        if name != "labels" and repr(made[0][name]) != repr(made[1][name]):
            raise RunError(
                f"Leak: {name!r} of the encoded rows changes when only their labels do. Make `encode` of "
                f"{type(original.task).__name__} put labels nowhere but in 'labels'."
            )
