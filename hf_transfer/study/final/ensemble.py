"""Average what several models answer."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import RunError
from hf_transfer.machine.devices import placed
from hf_transfer.replay.batching import Batches
from hf_transfer.study.final.model_folder import task_in
from hf_transfer.tasks.targets.target import Target
from hf_transfer.tasks.task import Task
from hf_transfer.training.predicting import Logits, predict
from hf_transfer.training.workers import Workers


def logits_of(task: Task, folder: Path, batches: Batches, workers: Workers, title: str = "") -> Logits:
    """Logits of a saved model for all encoded rows, by row number.

    Args:
        task: What the model was trained for.
        folder: Where it is.
        batches: Of the encoded rows, in full.
        workers: All processes at work together must call this.
        title: Of a progress bar; none is shown without one.
    """
    model = placed(task_in(task, folder).build_model(), workers.accelerator.device)
    return predict(batches.learner(model), batches, np.arange(len(batches.encoded)), workers, title)


def average_outputs(
    members: Iterable[Logits], target: Target, temperature: float = 1.0
) -> dict[int, NDArray[Any]]:
    """Average several models' answers row by row; the result can stand in for one model's outputs.

    Args:
        members: Outputs (m, c) of each model for the same rows.
        target: Says what is averaged: probabilities, or numbers.
        temperature: What each model's logits are divided by first.

    Raises:
        RunError: If there are no models, or they are of different rows.

    References:
        Lakshminarayanan, Pritzel and Blundell, "Simple and scalable predictive uncertainty estimation
        using deep ensembles", NeurIPS 2017.
    """
    found = list(members)
    if not found or any(one.keys() != found[0].keys() for one in found):
        raise RunError(f"{len(found)} models were to be averaged, which must be of the same rows.")
    return {row: target.average([one[row] for one in found], temperature) for row in found[0]}
