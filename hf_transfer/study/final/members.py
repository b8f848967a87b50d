"""Store the folds' models, to join them into the model to publish."""

from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.runs.run_folder import RunFolder
from hf_transfer.study.final.model_folder import MEMBER_FILE, member_identity, member_name, save_trained

if TYPE_CHECKING:
    from hf_transfer.study.experiment import Experiment, Unit


def keeps_member(experiment: "Experiment", unit: "Unit") -> bool:
    """Whether to store a fold's trained model: not of grids, which may have many, nor of controls."""
    joined = experiment.config.final in {"ensemble", "soup"}
    return joined and len(experiment.grid) == 1 and unit.repeat == 0 and unit.purpose == "score"


def keep_member(experiment: "Experiment", folder: RunFolder, unit: "Unit", model: nn.Module) -> None:
    """Store a fold's model in its folder."""
    record = {"repeat": unit.repeat, "fold": unit.fold, "identity": experiment.identity(unit.config)}
    place = folder.unit(unit.place) / "model"
    save_trained(experiment.task, model, place, records={MEMBER_FILE: record})


def member_folder(experiment: "Experiment", folder: RunFolder, unit: "Unit") -> Path | None:
    """Find a fold's stored model, from this run or an earlier one with the same settings and rows."""
    published = folder.path / "model" / member_name(unit.repeat, unit.fold)
    for model_folder in (folder.unit(unit.place) / "model", published):
        if member_identity(model_folder) == experiment.identity(unit.config):
            return model_folder
    return None
