"""Control runs of the reported configuration: fewer rows, shuffled labels, a probe, no training at all.

They answer what more rows would give, whether the model can learn rows by heart, whether labels leak,
what a head in closed form reaches, and what the names of the classes alone do. Nothing is chosen by them:
each reads its held-out rows once, under a purpose of its own.
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
from hf_transfer.machine.processes import wait_for_all
from hf_transfer.replay.replayed import Replay
from hf_transfer.runs.controls import Controls, curve_part, probe_part, shuffled_part
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.part_scores import parts_part, together
from hf_transfer.runs.records import LearningCurve, PartScores, Probe, ShuffledLabels
from hf_transfer.scores.learning_curve import PERCENTS
from hf_transfer.scores.site import read_site
from hf_transfer.scores.site_reading import SiteReading
from hf_transfer.study.added import added_sources
from hf_transfer.study.experiment import Experiment, Unit
from hf_transfer.study.fold_runner import FoldRunner
from hf_transfer.study.probing import Probing
from hf_transfer.study.wise import wise_test
from hf_transfer.study.zero_shot import zero_shot

if TYPE_CHECKING:
    from hf_transfer.study.study import Study

_ROWS_TO_COMPARE = 16  # of which the inputs are made under both labels


def run_controls(study: "Study", probing: Probing, results: Sequence[FoldResult]) -> Controls:
    """Run the requested controls and the probe; all processes must call this.

    Args:
        study: The finished study.
        probing: The probe of the configuration that is reported; of a grid, the best.
        results: Of its folds.

    Returns:
        What they found; no probe where it would cost more than seconds.
    """
    asked, config = study.experiment.config, probing.config
    if asked.learning_curve or asked.shuffled_labels:
        study.runner.replay.prepare()
    return Controls(
        _learning_curve(study, config, results) if asked.learning_curve else None,
        _shuffled(study, config, results) if asked.shuffled_labels else None,
        _probe(study, probing),
        zero_shot(study, config, results) if asked.zero_shot else None,
        _site(study, probing),
        parts=_parts(study, probing),
        wise=wise_test(study, config, results),
        added_sources=added_sources(study, probing),
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
    return [study.control_unit(unit, f"curve-{percent}", purpose=purpose) for unit in units]


def _probe(study: "Study", probing: Probing) -> Probe | None:
    """Solve the head of each fold of the first repeat in closed form, unless the run's own is solved."""
    units = study.probe_units(probing.config)
    if probing.config.solved or not probing.score(study.runner, units):
        return None
    return probe_part(study.results_of(units), study.experiment.task.target.scorer)


def _parts(study: "Study", probing: Probing) -> PartScores | None:
    """Solve the same heads on the features of each part of an input alone, and of all, where it has parts."""
    experiment, folds = study.experiment, {}
    for part in (*experiment.task.input.parts, None) if experiment.task.input.parts else ():
        units = study.probe_units(probing.config, part)
        if not probing.score(study.runner, units, part):
            return None
        folds[part or together(experiment.task.input.parts)] = study.results_of(units)
    num_folds = experiment.plans[0].num_folds
    return parts_part(folds, experiment.task.target.scorer, num_folds=num_folds) if folds else None


def _site(study: "Study", probing: Probing) -> SiteReading | None:
    """Test whether the stored features tell where rows were made, under the folds of the first repeat."""
    experiment = study.experiment
    rows, target = experiment.data.rows, experiment.task.target
    if "site" not in rows.column_names or target.per_word:
        return None
    study.runner.replay.prepare()
    if not study.runner.accelerator.is_main_process:  # so quick that sharing it gains nothing
        return None
    table = probing.features
    return read_site(
        table.values if table else None,
        (experiment.data.site_column or "site", rows["site"][:]),
        target.tabled(rows["label"][:]),
        experiment.plans[0],
        units=experiment.coded.groups,
        seed=probing.config.seed,
    )


def _shuffled(study: "Study", config: RunConfig, true: Sequence[FoldResult]) -> ShuffledLabels:
    """Train some folds on shuffled labels, and judge their scores."""
    chosen = study.experiment.units_of(config)[: study.experiment.config.shuffled_labels]
    units = [study.control_unit(unit, "shuffled", purpose="shuffled labels") for unit in chosen]
    # Flat, as rows that were chosen from others are written again with each new column.
    data = replace(study.experiment.data, rows=study.experiment.data.rows.flatten_indices())
    runners = [shuffled_runner(study.runner, data, unit) for unit in units]
    for runner, unit in study.runner.workers.own(list(zip(runners, units, strict=True))):
        if runner.finished(unit) is None:
            runner.run(unit)
    wait_for_all(study.runner.accelerator)
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
