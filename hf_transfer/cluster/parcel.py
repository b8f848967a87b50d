"""An experiment as plain data, for a machine that sees none of this one's files, and back.

Plain data are texts, numbers, lists, mappings of them, and arrays of bytes, which the processes of a machine
read from one place. Objects of the kit are never sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset
from datasets.table import embed_table_storage
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cluster.handing import Plain
from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.labelled import LabelledData
from hf_transfer.errors import ConfigError
from hf_transfer.machine.digests import json_digest
from hf_transfer.machine.files import write_files
from hf_transfer.machine.mapped import as_dataset
from hf_transfer.models.base_model import BaseModel, open_base_model
from hf_transfer.study.decision import Decision
from hf_transfer.study.experiment import Experiment, Unit
from hf_transfer.tasks import all_tasks, target_of_run, task_class
from hf_transfer.tasks.inputs.table import Table, TableColumn
from hf_transfer.tasks.task import Task

Bytes = NDArray[np.uint8]

_ROWS = ("rows", "test", "sealed")
# Of the data: plain as they are.
_TEXTS = (
    "name", "config_name", "split", "fingerprint", "notes", "hub", "input_column", "label_column", "scheme",
    "grouped_by", "site_column", "kept_by", "fold_notes", "label_columns",
)  # fmt: skip
_BATCH = 1000  # rows, of which pictures are read into memory at once


@dataclass(frozen=True)
class Parcel:
    """An experiment as plain data.

    Attributes:
        about: Settings, labels, what was decided; small.
        bulk: The rows, and the files of a base model that is a folder; large, and put once.
        bulk_key: The same for the same rows and base model.
    """

    about: Plain
    bulk: Plain
    bulk_key: str


def pack(experiment: Experiment, bulk: Plain | None = None) -> Parcel:
    """Turn an experiment into plain data.

    Args:
        experiment: Of a task of the kit.
        bulk: Rows and model, where they are packed already.

    Raises:
        ConfigError: If the task is somebody's own class, which other machines do not have.
    """
    task, data = experiment.task, experiment.data
    check_carried(task)
    if experiment.config.add_source:
        raise ConfigError(
            f"engine={experiment.config.engine!r} does not carry the rows of add_source. Leave one of them "
            "out."
        )
    about: Plain = plain_task(task) | {
        "config": experiment.config.to_dict(),
        "configs": [config.to_dict() for config in experiment.decision.configs],
        "of_folds": [[*place, config.to_dict()] for place, config in experiment.decision.of_folds.items()],
        "aside": list(experiment.decision.aside),
        "data": {name: _listed(getattr(data, name)) for name in _TEXTS},
    }
    about["key"] = json_digest([about, [experiment.identity(config) for config in experiment.grid]])
    return Parcel(about, bulk or _bulk(experiment), bulk_key(experiment))


def bulk_key(experiment: Experiment) -> str:
    """A key that is the same for the same rows and base model."""
    base, data = experiment.task.base, experiment.data
    return json_digest([data.fingerprint, len(experiment.uids), base.name, base.revision])


def _bulk(experiment: Experiment) -> Plain:
    rows = {name: getattr(experiment.data, name) for name in _ROWS}
    return {
        "rows": {name: pack_rows(part) for name, part in rows.items() if part is not None},
        "model": pack_model(experiment.task.base),
    }


def pack_model(base: BaseModel) -> dict[str, Bytes]:
    """The content of the files of a base model that only this machine has."""
    return {name: np.frombuffer(path.read_bytes(), np.uint8) for name, path in model_files(base).items()}


def model_files(base: BaseModel) -> dict[str, Path]:
    """The files of a base model that only this machine has, by their names; none of one of the Hub."""
    if base.weights_file is not None:
        return {Path(base.weights_file).name: Path(base.weights_file)}
    folder = Path(base.location)
    if base.name.startswith("builtin:") or not folder.is_dir():
        return {}
    paths = sorted([*folder.iterdir(), *folder.glob("[0-9]_*/*")])  # those of sentence-transformers too
    return {path.relative_to(folder).as_posix(): path for path in paths if path.is_file()}


def check_carried(task: Task) -> None:
    """Stop at a task of somebody's own class, which other machines do not have.

    Raises:
        ConfigError: Saying where it can run.
    """
    known = [one for one in all_tasks() if (one.name, one.input.name) == (task.name, task.input.name)]
    if not any(isinstance(task, one) for one in known):
        raise ConfigError(
            f"An engine carries the kit's own tasks, and {type(task).__name__} is another: other machines do "
            "not have its code. Run it here, or under accelerate launch."
        )


def plain_task(task: Task) -> Plain:
    """A task with its settings, and what its base model is known by, as plain data."""
    table = task.input.table
    return {
        "config": task.settings.to_dict(),
        "task": [task.name, task.input.name],
        "table": None if table is None else [asdict(column) for column in table.columns],
        "target": [task.target.name, list(task.target.label_names)],
        "revision": task.base.revision,
    }


def read_task(about: Mapping[str, Any], files: Mapping[str, Bytes], folder: Path, models: Path) -> Task:
    """Make a task of plain data again.

    Args:
        about: What `plain_task` gave.
        files: Of its base model.
        folder: The run's folder on this machine.
        models: Where the files go.

    Raises:
        ConfigError: If the base model here is another than there.
    """
    config = read_config(about["config"], folder)
    (name, input), (target, label_names) = about["task"], about["target"]
    kind = task_class(name, input)
    if about["table"] is not None:
        kind = kind.with_table(
            Table(tuple(TableColumn(c["name"], _tuple(c["categories"])) for c in about["table"]))
        )
    task = kind(config, target_of_run(name, tuple(label_names), target, config, input=input))
    _open_base(task, files, about["revision"], models)
    return task


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def pack_rows(rows: Dataset) -> Bytes:
    """Rows as an Arrow stream, with the content of the files that they name."""
    schema = rows.features.arrow_schema
    sink = pa.BufferOutputStream()
    arrow = rows.with_format("arrow")
    with pa.ipc.new_stream(sink, schema) as writer:
        for start in range(0, len(rows), _BATCH):
            writer.write_table(embed_table_storage(arrow[start : start + _BATCH].cast(schema)))
    return np.frombuffer(sink.getvalue(), np.uint8)


def read_rows(stored: Bytes) -> Dataset:
    """Rows that `pack_rows` made, read where they lie."""
    with pa.ipc.open_stream(pa.py_buffer(stored)) as stream:
        return as_dataset(stream.read_all())


def plain_unit(unit: Unit) -> Plain:
    """A unit as plain data."""
    return {f.name: getattr(unit, f.name) for f in fields(Unit)} | {"config": unit.config.to_dict()}


def read_config(values: Mapping[str, Any], folder: Path) -> RunConfig:
    """Settings that were sent, with a run's folder of this machine."""
    return RunConfig().changed({**values, "output_dir": str(folder)})


def read_unit(values: Mapping[str, Any], folder: Path) -> Unit:
    """A unit that was sent, with a run's folder of this machine."""
    return Unit(**{**values, "config": read_config(values["config"], folder)})


def unpack(about: Mapping[str, Any], bulk: Mapping[str, Any], folder: Path, models: Path) -> Experiment:
    """Make an experiment of plain data again.

    Args:
        about: Of the parcel.
        bulk: Of the parcel.
        folder: The run's folder on this machine.
        models: Where the files of its base model go.

    Raises:
        ConfigError: If the base model here is another than there.
    """
    task = read_task(about, bulk["model"], folder, models)
    parts: dict[str, Any] = {name: read_rows(stored) for name, stored in bulk["rows"].items()}
    texts = {name: _tuple(value) for name, value in about["data"].items()}
    data = LabelledData(
        **{"test": None} | parts | texts,
        label_names=task.target.label_names,
        task=type(task),
        target=task.target,
    )
    decision = Decision(
        configs=tuple(read_config(one, folder) for one in about["configs"]),
        of_folds={(repeat, fold): read_config(one, folder) for repeat, fold, one in about["of_folds"]},
        aside=tuple(about["aside"]),
    )
    return Experiment(task, data, task.settings, decision)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _open_base(task: Task, files: Mapping[str, Bytes], revision: str | None, models: Path) -> None:
    """Open the base model of a task from files that were sent, under the name that it has there."""
    name = task.settings.base_model
    if files:
        models.mkdir(parents=True, exist_ok=True)
        paths = {models / file: content.tobytes() for file, content in files.items()}
        for path in paths:
            path.parent.mkdir(exist_ok=True)
        write_files(paths)
        here = (
            str(models) if not name.startswith("timm:") else f"{name.partition('@')[0]}@{next(iter(paths))}"
        )
        base = replace(open_base_model(replace(task.settings, base_model=here)), name=name)
    else:
        base = open_base_model(
            replace(task.settings, revision=task.settings.revision or _of_hub(name, revision))
        )
    if base.revision != revision:
        raise ConfigError(
            f"base_model={name!r} is of revision {base.revision} on this node, and of {revision} where the "
            "run was started. Give its --revision, or download it anew there."
        )
    vars(task)["base"] = base


def _of_hub(name: str, revision: str | None) -> str | None:
    """The revision to ask the Hub for; None of models that do not come from there."""
    return None if name.startswith(("builtin:", "timm:")) else revision
