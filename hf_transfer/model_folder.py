"""A trained model's folder: what plain transformers or timm loads, and what it says of itself besides."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.models import save_model
from hf_transfer.results import write_json
from hf_transfer.tasks.base import Task

MEMBER_FILE = "fold.json"  # which fold of which settings a model is of
CALIBRATION_FILE = "calibration.json"  # what its logits are to be divided by


def save_trained(
    task: Task, model: Any, folder: Path, *, records: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """Write what plain transformers or timm loads; beside its place first, so that it is never half there.

    Args:
        task: Whose processor goes with it.
        model: A model of transformers.
        folder: Replaced, if it is there.
        records: JSON files to lay beside the weights, by name.
    """
    beside = _emptied_beside(folder)
    save_model(model, beside)
    task.save_processor(beside)
    _finish(beside, folder, records or {})


def save_ensemble(
    members: Mapping[str, Path], folder: Path, records: Mapping[str, Mapping[str, Any]]
) -> None:
    """Move the folders of several models into one.

    Args:
        members: Where each model is now, by its name in the new folder.
        folder: Replaced, if it is there; models may come from it.
        records: JSON files to lay beside them, by name.
    """
    beside = _emptied_beside(folder)
    beside.mkdir(parents=True)
    for name, source in members.items():
        source.rename(beside / name)
    _finish(beside, folder, records)


def _emptied_beside(folder: Path) -> Path:
    beside = folder.with_name(f".{folder.name}.tmp")
    rmtree(beside, ignore_errors=True)
    return beside


def _finish(beside: Path, folder: Path, records: Mapping[str, Mapping[str, Any]]) -> None:
    for name, record in records.items():
        write_json(beside / name, dict(record))
    for file in (path for path in beside.rglob("*") if path.is_file()):
        file.chmod(0o644)  # safetensors leaves 0600, whatever the umask says
    rmtree(folder, ignore_errors=True)
    beside.rename(folder)


def member_name(repeat: int, fold: int) -> str:
    """Name of a fold's model in an ensemble's folder."""
    return f"fold-r{repeat}f{fold}"


def member_identity(folder: Path) -> str | None:
    """Digest of all that decided the model in a folder; None if it is no fold's."""
    path = folder / MEMBER_FILE
    return str(json.loads(path.read_text(encoding="utf-8"))["identity"]) if path.is_file() else None


def task_in(task: Task, folder: Path) -> Task:
    """The same task with a trained model's folder as its base model."""
    settings = replace(task.settings, base_model=str(folder), revision=None, from_scratch=False, reinit_top=0)
    return type(task)(settings, task.label_names)
