"""Save trained models in folders that plain transformers or timm loads."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from shutil import copy2, copytree, rmtree
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.machine.files import new_folder, write_json
from hf_transfer.machine.wording import fold_key
from hf_transfer.models.saving import save_model
from hf_transfer.tasks.inputs.table import Table
from hf_transfer.tasks.task import Task

MEMBER_FILE = "fold.json"  # which fold of which settings a model is of
CUTS_FILE = "cuts.json"  # from which value on a label is given, or a grade


def save_trained(
    task: Task, model: Any, folder: Path, *, records: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """Save a model for plain transformers or timm; the folder appears whole or not at all.

    Args:
        task: Whose processor goes with it.
        model: A model of transformers.
        folder: Replaced, if it is there.
        records: JSON files to lay beside the weights, by name.
    """
    with new_folder(folder) as beside:
        save_model(model, beside)
        task.save_processor(beside)
        _add_records(beside, records or {})


def save_ensemble(
    members: Mapping[str, Path], folder: Path, records: Mapping[str, Mapping[str, Any]]
) -> None:
    """Move the folders of several models into one.

    Args:
        members: Where each model is now, by its name in the new folder.
        folder: Replaced, if it is there; models may come from it.
        records: JSON files to lay beside them, by name.
    """
    with new_folder(folder) as beside:
        for name, source in members.items():
            copytree(source, beside / name, copy_function=_link)
        _add_records(beside, records)
    for source in members.values():
        if folder not in source.parents:
            rmtree(source, ignore_errors=True)  # only now: a run that was killed before finds it there


def _link(source: str, target: str) -> None:
    """Hard-link a file, or copy it where the file system cannot."""
    try:
        os.link(source, target)
    except OSError:
        copy2(source, target)


def _add_records(folder: Path, records: Mapping[str, Mapping[str, Any]]) -> None:
    for name, record in records.items():
        write_json(folder / name, dict(record))


def member_name(repeat: int, fold: int) -> str:
    """Name of a fold's model in an ensemble's folder."""
    return f"fold-{fold_key(repeat, fold)}"


def member_identity(folder: Path) -> str | None:
    """Digest of everything that decided a fold's model; None for other models."""
    path = folder / MEMBER_FILE
    return str(json.loads(path.read_text(encoding="utf-8"))["identity"]) if path.is_file() else None


def task_in(task: Task, folder: Path) -> Task:
    """The same task, with a trained model's folder as its base model, and the table that was saved there."""
    settings = replace(task.settings, base_model=str(folder), revision=None, from_scratch=False, reinit_top=0)
    return with_table_of(type(task), task.settings, folder)(settings, task.target)


def with_table_of(task: type[Task], settings: RunConfig, folder: Path) -> type[Task]:
    """A run's task with the table that its model's folder has, if it learned from one."""
    return task.with_table(Table.open(folder)) if settings.table_columns else task
