"""Predict encoded rows, and bring the predictions of all processes together by row."""

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import RunError
from hf_transfer.tasks.base import IGNORE_INDEX, Task
from hf_transfer.workers import Workers

if TYPE_CHECKING:
    from datasets import Dataset

_ROWS_AT_ONCE = 64

Positions = NDArray[np.int64]


def predict(
    model: nn.Module, task: Task, encoded: "Dataset", positions: Positions, workers: Workers
) -> dict[int, NDArray[Any]]:
    """Decoded output of every row, by the row's number, whatever process computed it.

    Args:
        model: Trained, not wrapped.
        task: Collates and decodes.
        encoded: What the task's `encode` made; several encoded rows may belong to one row.
        positions: Which encoded rows.
        workers: All processes at work together must call this.

    Raises:
        RunError: If an encoded row was predicted twice or not at all.
    """
    mine = []
    for part, batch, logits in _forward(
        model, task, encoded, workers.share(_by_size(encoded, positions)), workers
    ):
        rows = encoded[part]["row"]
        decoded = task.decode(logits, batch["labels"])
        mine += list(zip(part.tolist(), rows, decoded, strict=True))
    pieces = sorted(workers.gather(mine), key=lambda piece: piece[0])
    if [piece[0] for piece in pieces] != sorted(positions.tolist()):
        raise RunError(
            f"{len(pieces)} predictions came back for {len(positions)} rows; some are doubled or lost."
        )
    by_row: defaultdict[int, list[NDArray[Any]]] = defaultdict(list)
    for _, row, values in pieces:
        by_row[row].append(values)
    return {row: np.concatenate(parts) for row, parts in by_row.items()}


def mean_loss(
    model: nn.Module, task: Task, encoded: "Dataset", positions: Positions, workers: Workers
) -> float:
    """Mean cross-entropy over all labels of some encoded rows, in eval mode."""
    total = torch.zeros(2, dtype=torch.float64)
    for _, batch, logits in _forward(
        model, task, encoded, workers.share(_by_size(encoded, positions)), workers
    ):
        labels = batch["labels"].flatten()
        loss = functional.cross_entropy(
            logits.float().flatten(0, -2), labels, ignore_index=IGNORE_INDEX, reduction="sum"
        )
        total += torch.tensor([loss.item(), float((labels != IGNORE_INDEX).sum())], dtype=torch.float64)
    total = workers.total(total.to(workers.accelerator.device, torch.float32)).double()
    return float(total[0] / total[1].clamp(min=1))


def batch_rows(encoded: "Dataset", positions: Positions) -> list[dict[str, Any]]:
    """Some encoded rows, one dictionary each."""
    columns = encoded[positions]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _by_size(encoded: "Dataset", positions: Positions) -> list[Positions]:
    """Batches of rows of similar size, so that little is padded."""
    sizes = np.asarray(encoded.select(positions)["size"][:], np.int64)
    ordered = positions[np.lexsort((positions, sizes))]
    return [ordered[i : i + _ROWS_AT_ONCE] for i in range(0, len(ordered), _ROWS_AT_ONCE)]


def _forward(
    model: nn.Module, task: Task, encoded: "Dataset", batches: Any, workers: Workers
) -> Iterator[tuple[Positions, dict[str, Tensor], Tensor]]:
    model.eval()
    device = workers.accelerator.device
    with torch.inference_mode(), workers.accelerator.autocast():
        for part in batches:
            batch = {k: v.to(device) for k, v in task.collate(batch_rows(encoded, part)).items()}
            yield part, batch, model(**{k: v for k, v in batch.items() if k != "labels"}).logits
