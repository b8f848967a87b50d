"""Average the probabilities of several models."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import RunError
from hf_transfer.models.building import placed
from hf_transfer.replay.batching import Batches
from hf_transfer.scores.statistics import apply_temperature
from hf_transfer.study.final.model_folder import task_in
from hf_transfer.tasks.task import Task
from hf_transfer.training.predicting import Logits, predict
from hf_transfer.training.workers import Workers


def logits_of(task: Task, folder: Path, batches: Batches, workers: Workers) -> Logits:
    """Logits of a saved model for all encoded rows, by row number.

    Args:
        task: What the model was trained for.
        folder: Where it is.
        batches: Of the encoded rows, in full.
        workers: All processes at work together must call this.
    """
    model = placed(task_in(task, folder).build_model(), workers.accelerator.device)
    return predict(batches.learner(model), batches, np.arange(len(batches.encoded)), workers)


def mean_log_probabilities(members: Iterable[Logits], temperature: float = 1.0) -> dict[int, NDArray[Any]]:
    """Average several models' probabilities row by row, and return the logarithms.

    The result can stand in for logits: a softmax gives the mean probabilities back.

    Args:
        members: Logits (m, c) of each model for the same rows.
        temperature: What each model's logits are divided by first.

    Raises:
        RunError: If there are no models, or they are of different rows.

    References:
        Lakshminarayanan, Pritzel and Blundell, "Simple and scalable predictive uncertainty estimation
        using deep ensembles", NeurIPS 2017.

    Example:
        >>> ((row, logs),) = mean_log_probabilities([{7: [[0.0, 0.0]]}, {7: [[0.0, 1.0986123]]}]).items()
        >>> row, np.exp(logs).round(3).tolist()
        (7, [[0.375, 0.625]])
    """
    found = list(members)
    if not found or any(one.keys() != found[0].keys() for one in found):
        raise RunError(f"{len(found)} models were to be averaged, which must be of the same rows.")
    return {row: _mean([one[row] for one in found], temperature) for row in found[0]}


def _mean(logits: Sequence[Any], temperature: float) -> NDArray[Any]:
    if not len(logits[0]):  # a sentence without words
        return np.asarray(logits[0])
    shares = np.mean([apply_temperature(one, temperature) for one in logits], axis=0)
    smallest = np.finfo(np.float32).tiny  # a probability of 0 has no logarithm
    logs: NDArray[Any] = np.log(np.maximum(shares, smallest)).astype(np.float32)
    return logs
