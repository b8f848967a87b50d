"""Other labelled rows in every training part: do they help, or hurt (negative transfer)?

Of a frozen backbone, linear heads are solved on stored features, under the folds of the run: on its own
training rows, and on these with the others added. Where layers learn, each fold is trained with the others
added, beside the run's own. The others are never held out, and what the run's data holds too is left out, or
held-out rows would be learned from.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.labelled import LabelledData, fingerprint
from hf_transfer.data.opening import open_dataset
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.machine.devices import placed
from hf_transfer.machine.digests import json_digest
from hf_transfer.machine.processes import wait_for_all
from hf_transfer.replay.batching import Batches
from hf_transfer.replay.encoding import encode_rows
from hf_transfer.runs.added import Source, added_part
from hf_transfer.runs.records import AddedSource
from hf_transfer.study.probing import Features, Probing, read_features

if TYPE_CHECKING:
    from hf_transfer.study.experiment import Experiment, Unit
    from hf_transfer.study.study import Study

# Settings of the run's rows that say nothing of others.
_OF_THE_RUN: dict[str, Any] = {
    "dataset_config": None, "split": None, "test_split": None, "sealed": 0.0, "max_rows": None,
    "scheme": "auto", "group_by": None, "time_by": None, "fold_column": None, "gap": 0, "add_source": (),
    "final": "refit",
}  # fmt: skip


def open_source(experiment: "Experiment", name: str) -> LabelledData:
    """Open other labelled rows, with labels in the numbers of the run's.

    Raises:
        ConfigError: If only the head learns, and there is no pretrained backbone whose features are stored.
        DataError: If they cannot be opened, or have a label that the run's rows do not have.
    """
    task, config = experiment.task, experiment.config
    stored = task.base.has_weights and config.replay and not config.from_scratch and not config.reinit_top
    if _heads_alone(config) and not stored:
        raise ConfigError(
            f"add_source={name!r} is tested on the stored features of pretrained weights, and there will be "
            "none: from_scratch, reinit_top, no_replay, or a base model without weights. Leave one out."
        )
    if task.lacking:
        raise ConfigError("add_source reads no table columns. Leave table_columns or add_source out.")
    data = open_dataset(replace(experiment.config, dataset=name, **_OF_THE_RUN), task.input.name)
    if data.target.name != task.target.name:
        raise DataError(
            f"add_source={name!r} has labels that are {data.target.name}, and the run's are "
            f"{task.target.name}. Give rows that are labelled alike."
        )
    labels = task.target.renumbered(data.rows["label"][:], data.label_names, data.name)
    column = type(task.target).label_type(task.label_names)
    rows = data.rows.select_columns(["row_id", "input"]).add_column("label", labels, feature=column)
    return replace(data, rows=rows, target=task.target)


def _heads_alone(config: RunConfig) -> bool:
    """Whether nothing but heads learns in a run, so that features say what it would do."""
    return config.trainable == "head" and not config.trainables


def added_sources(study: "Study", probing: Probing) -> list[AddedSource]:
    """Test each source that is asked for; all processes must call this.

    Where that cannot be done, a note says so.
    """
    names = study.experiment.config.add_source
    if not names:
        return []
    if not _heads_alone(study.experiment.config):
        return _trained_with(study, probing.config, names)
    units = study.probe_units(probing.config)
    if not probing.score(study.runner, units):
        study.runner.replay.notes.append(
            "add_source was not tested: it needs the stored features of a pretrained, frozen backbone."
        )
        return []
    own = study.results_of(units)
    alone = own, study.predictions_of(units, own)
    tested = []
    for name in names:
        source, folder_units = _scored(study, probing, name)
        results = study.results_of(folder_units)
        tested.append((source, (results, study.predictions_of(folder_units, results))))
    return added_part(alone, tested, study.experiment.task.target, seed=study.experiment.config.seed)


def _trained_with(study: "Study", config: RunConfig, names: Sequence[str]) -> list[AddedSource]:
    """Train the folds of the first repeat with each source, and test them beside the run's own."""
    units = [unit for unit in study.experiment.units_of(config) if unit.repeat == 0]
    own = study.results_of(units)
    tested = []
    for name in names:
        source, folder_units = _trained(study, units, name)
        results = study.results_of(folder_units)
        if failed := next((one for one in [*own, *results] if one.status == "failed"), None):
            study.runner.replay.notes.append(
                f"add_source={name!r} was not tested: a fold failed. {failed.error}"
            )
            continue
        tested.append((source, (results, study.predictions_of(folder_units, results))))
    alone = own, study.predictions_of(units, own)
    return added_part(alone, tested, study.experiment.task.target, seed=study.experiment.config.seed)


def _trained(study: "Study", units: Sequence["Unit"], name: str) -> "tuple[Source, list[Unit]]":
    """Train folds with a source's rows, in folders of their own; finished ones stay."""
    from hf_transfer.study.added_training import AddedRunner

    source, data = _source(study, name, trained=True)
    runner = AddedRunner(study.runner, data.rows, data.fingerprint)
    places = [study.control_unit(unit, source.folder, purpose=f"with {source.folder}") for unit in units]
    left = [unit for unit in places if runner.finished(unit) is None]
    wait_for_all(runner.accelerator)  # all have looked before anyone writes
    if left:
        runner.replay.prepare()
    for unit in runner.workers.own(places):
        if runner.finished(unit) is None:
            runner.run(unit)
    wait_for_all(runner.accelerator)
    return source, places


def _source(study: "Study", name: str, *, trained: bool = False) -> tuple[Source, LabelledData]:
    """Open a source without the rows that the run has, and name the folder of its predictions."""
    experiment = study.experiment
    opened = open_source(experiment, name)
    data = _without_copies(opened, experiment)
    folder = f"added-{json_digest([opened.fingerprint, experiment.task.base.revision], 4)}"
    num_dropped = len(opened.rows) - len(data.rows)
    return Source(name, opened.fingerprint, len(data.rows), num_dropped, folder, trained), data


def _scored(study: "Study", probing: Probing, name: str) -> tuple[Source, list[Any]]:
    """Score heads that learned from a source's rows too, in folders of their own."""
    runner, experiment = study.runner, study.experiment
    source, data = _source(study, name)
    units = [
        study.control_unit(unit, source.folder, purpose=f"with {source.folder}")
        for unit in study.probe_units(probing.config)
    ]
    done = all(runner.finished(unit) for unit in units)
    wait_for_all(runner.accelerator)  # all have looked before anyone writes
    encoded = encode_rows(experiment.task, data.rows, data.fingerprint, runner.accelerator)
    if not done and runner.accelerator.is_main_process:
        others = _features(study, probing, encoded, data)
        for unit in units:
            plan = experiment.plans[unit.repeat]
            folds, num_rows = plan.fold_of_row(), len(experiment.uids)
            new = np.arange(num_rows, num_rows + others.num_rows)
            both = probing.features.with_rows(others)  # type: ignore[union-attr]
            of_all = np.concatenate([folds, new % plan.num_folds])  # only the penalty is chosen by these
            rows = np.concatenate([experiment.train_rows(unit), new])
            runner.keep_outputs(unit, *both.solved(rows, experiment.valid_rows(unit), of_all))
    wait_for_all(runner.accelerator)
    return source, units


def _features(study: "Study", probing: Probing, encoded: Any, data: LabelledData) -> Features:
    """Features of the other rows by the same frozen model."""
    task, accelerator = study.experiment.task, study.runner.accelerator
    torch.manual_seed(probing.config.seed)
    model = placed(task.build_model(), accelerator.device)
    batches = Batches(task, encoded, accelerator.device)
    found = read_features(model, batches, data.rows["label"][:], accelerator)
    if found is None:
        raise DataError(f"{data.name} has too many rows for add_source. Give a part of them.")
    return found


def _without_copies(data: LabelledData, experiment: "Experiment") -> LabelledData:
    """Leave out rows whose input is that of a row of the run, in its folds or set aside."""
    own = experiment.data
    parts = [rows for rows in (own.rows, own.test, own.sealed) if rows is not None]
    known = {digest for rows in parts for digest in own.row_digests(rows)}
    fresh = [row for row, digest in enumerate(data.row_digests(data.rows)) if digest not in known]
    if not fresh:
        raise DataError(f"All rows of {data.name} are among those of the run. Give others to add_source.")
    rows = data.rows.select(fresh)
    return replace(data, rows=rows, fingerprint=fingerprint(rows, data.input, experiment.task.label_names))
