"""Train some folds of a finished run again, from its settings and data, in a folder of their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import torch

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.opening import open_dataset
from hf_transfer.data.sealing import seal_rows
from hf_transfer.errors import VerificationError
from hf_transfer.folds import hash_order
from hf_transfer.machine.environment import device_name, versions
from hf_transfer.machine.wording import fold_key
from hf_transfer.runs.records import Results
from hf_transfer.runs.run_folder import RunFolder
from hf_transfer.study.decision import Decision
from hf_transfer.study.experiment import Experiment, Unit
from hf_transfer.study.study import Study
from hf_transfer.tasks import task_class
from hf_transfer.training.workers import make_accelerator


@dataclass(frozen=True)
class Again:
    """A fold that was trained again.

    Attributes:
        repeat: Of the fold.
        fold: Its number.
        rows: Its new predictions; None where training failed, see `error`.
        error: Why it failed.
    """

    repeat: int
    fold: int
    rows: pa.Table | None
    error: str | None = None


def train_again(
    results: Results, best: RunConfig, aside: Sequence[int], num_folds: int, seed: int
) -> list[Again]:
    """Train folds that the reader's seed draws, from the data and the base model that the settings name.

    Args:
        results: Of the run.
        best: The reported configuration, without lists.
        aside: Numbers of rows that a search had set aside.
        num_folds: How many; all finished ones where there are no more.
        seed: That draws them.

    Raises:
        VerificationError: If the data or the base model are not those of the run.
        DataError: If the data cannot be opened.
        ModelError: If the base model cannot be had.
    """
    places = [(fold.repeat, fold.fold) for fold in results.done]
    order = hash_order([fold_key(*place) for place in places], seed)
    drawn = {places[position] for position in order[:num_folds]}
    with TemporaryDirectory() as folder:
        study = _study(results, best.changed({"output_dir": folder}), aside, Path(folder))
        units = [u for u in study.experiment.units_of(best_of(study)) if (u.repeat, u.fold) in drawn]
        study.runner.replay.prepare()
        study.train(units)
        return [_again(study, unit) for unit in units]


def best_of(study: Study) -> RunConfig:
    """The only configuration of a study."""
    (config,) = study.experiment.grid
    return config


def _study(results: Results, config: RunConfig, aside: Sequence[int], folder: Path) -> Study:
    data = open_dataset(config, task_class(results.task, results.input))
    task = data.task(config, data.target)
    experiment = Experiment(task, seal_rows(task, data, config), config, Decision(aside=tuple(aside)))
    differs = [
        f"{name}: {there} in results.json, {here} here"
        for name, there, here in (
            ("fingerprint of the rows", results.dataset.fingerprint, experiment.data.fingerprint),
            ("labels", results.label_names, list(task.label_names)),
            ("revision of the base model", results.base_model_revision, task.base.revision),
        )
        if there != here
    ]
    if differs:
        raise VerificationError(
            f"Training again would say nothing, as data or base model are others: {'; '.join(differs)}. Give "
            "the run the rows and the base model that it was made from."
        )
    return Study(experiment, make_accelerator(config), RunFolder(folder))


def _again(study: Study, unit: Unit) -> Again:
    result = study.runner.result(unit)
    done = result.status == "done"
    rows = study.predictions_of([unit], [result]) if done else None
    return Again(unit.repeat, unit.fold, rows, result.error)


def environment_differences(results: Results) -> list[str]:
    """What of versions, device and threads is not as in the run, in words."""
    device = device_name(make_accelerator(results.config).device)
    here = versions() | {"threads": str(torch.get_num_threads()), "device": device}
    hardware = results.hardware
    there = dict(results.versions) | {"threads": str(hardware.num_threads), "device": hardware.device}
    return [f"{name} {was}, here {here.get(name)}" for name, was in there.items() if was != here.get(name)]
