"""Estimate the disk space of a run before hours of training."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.folds.split import NUM_INNER
from hf_transfer.layers.phases import freeze_for
from hf_transfer.machine.files import check_room

if TYPE_CHECKING:
    from hf_transfer.study.study import Study

_STATES = 4  # a trained tensor, its two moments, and the best epoch's
_AT_ONCE = 2  # a checkpoint is removed when the next is whole
_SPARE = 1.1
_BYTES_A_NUMBER = 16  # of a prediction, in its fold's folder and among all rows


def check_study_room(study: "Study", model: nn.Module) -> None:
    """Stop before training if checkpoints, predictions and final model would not fit on the disk.

    Args:
        study: Nothing of it was trained yet.
        model: One of its models.

    Raises:
        DiskFullError: Naming the folder, what is needed and what is free.
    """
    check_room(study.runner.folder.path, needed_bytes(study, model))


def needed_bytes(study: "Study", model: nn.Module) -> int:
    """Peak disk use of a study in bytes."""
    experiment, runner = study.experiment, study.runner
    config = experiment.config
    whole = _size(_tensors(model))
    learning = max(_learning(experiment.grid, model))
    trainings = 1 if runner.workers.together else runner.accelerator.num_processes
    inner = NUM_INNER if len(config.wise_shares) > 1 else 0  # each kept until its fold is done
    kept = _STATES * (_AT_ONCE + inner) * learning * trainings
    checkpoints = 0 if config.checkpoint_minutes is None else kept
    models = {"none": 0, "refit": 1, "ensemble": config.num_folds, "soup": config.num_folds + 1}
    ends = 2 * learning if config.wise_shares and config.final == "refit" else 0
    rows = len(experiment.uids) * len(experiment.plans) * len(experiment.grid)
    predictions = rows * len(experiment.task.label_names) * _BYTES_A_NUMBER
    return round(_SPARE * (checkpoints + models[config.final] * whole + ends + predictions))


def _learning(grid: Iterable[RunConfig], model: nn.Module) -> Iterator[int]:
    """Bytes of trained parameters in each configuration."""
    for config in grid:
        trainable = freeze_for(model, config).trainable
        yield _size(p for name, p in model.named_parameters() if name in trainable)


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def _size(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
