"""Predict encoded rows, and gather the predictions of all processes by row."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import RunError
from hf_transfer.layers.shards import reshard
from hf_transfer.machine.memory import in_parts
from hf_transfer.machine.progress import progress_bar
from hf_transfer.replay.batching import Batch, Batches, Positions
from hf_transfer.training.scale import scaled
from hf_transfer.training.workers import Workers

Logits = Mapping[int, NDArray[Any]]
"""Logits of each row, (m, c), by the row's number: one line for the row, or one for each word."""


class RowLogits(Logits):
    """Logits by row, in one array, which takes a tenth of the memory of one array a row.

    Args:
        rows: The row of each encoded row, (e,).
        lengths: Number of lines of each encoded row, (e,).
        lines: Of all encoded rows, (lengths.sum(), c).
        order: Of the encoded rows: by row, and parts of one row as they follow each other.
    """

    def __init__(self, rows: Positions, lengths: Positions, lines: NDArray[Any], order: Positions) -> None:
        ordered = lengths[order]
        ends = np.cumsum(ordered)
        moved = (np.cumsum(lengths) - lengths)[order] - (ends - ordered)
        self._lines = lines[np.arange(len(lines)) + np.repeat(moved, ordered)]
        self._rows, first = np.unique(rows[order], return_index=True)
        self._starts = (ends - ordered)[first]

    def __getitem__(self, row: int) -> NDArray[Any]:
        position = int(np.searchsorted(self._rows, row))
        if position == len(self._rows) or self._rows[position] != row:
            raise KeyError(row)
        stop = self._starts[position + 1] if position + 1 < len(self._rows) else len(self._lines)
        lines: NDArray[Any] = self._lines[self._starts[position] : stop]
        return lines

    def __iter__(self) -> Iterator[int]:
        return iter(self._rows.tolist())

    def __len__(self) -> int:
        return len(self._rows)


def predict(
    learner: nn.Module, batches: Batches, positions: Positions, workers: Workers, title: str = ""
) -> Logits:
    """Logits of every row by its number, from all processes.

    Args:
        learner: A trained module that turns these batches into logits, not wrapped.
        batches: Of the encoded rows; several of them may belong to one row.
        positions: Which encoded rows.
        workers: All processes at work together must call this.
        title: Of a progress bar; none is shown without one.

    Raises:
        RunError: If an encoded row was predicted twice or not at all.
    """
    if not len(positions):
        return {}
    mine = []
    with progress_bar(title, total=len(positions), unit="row", shown=bool(title)) as bar:
        for part, batch, logits in _forward(learner, batches, positions, workers):
            decoded = batches.task.target.decode(logits, batch["labels"])
            mine.append((part, np.array([len(lines) for lines in decoded]), np.concatenate(decoded)))
            bar.update(len(part))
    found, lengths, lines = (np.concatenate(parts) for parts in zip(*workers.gather(mine), strict=True))
    if not np.array_equal(np.sort(found), np.sort(positions)):
        raise RunError(
            f"{len(found)} predictions came back for {len(positions)} rows; some are doubled or lost."
        )
    rows = batches.row_of[found]
    return RowLogits(rows, lengths, lines, np.lexsort((found, rows)))


def mean_loss(
    learner: nn.Module, batches: Batches, positions: Positions, workers: Workers, scale: Tensor | None = None
) -> float:
    """Mean loss over all labels of some encoded rows, in eval mode, by a model that learns at a scale."""
    total = torch.zeros(2, device=workers.accelerator.device)
    for _, batch, outputs in _forward(learner, batches, positions, workers):
        target, labels = batches.task.target, scaled(batch["labels"], scale)
        total += torch.stack([target.loss(outputs, labels), target.weight(labels)])
    loss, weight = workers.total(total).tolist()
    return float(loss / max(1.0, weight))


def calibrated_loss(learner: nn.Module, batches: Batches, positions: Positions, workers: Workers) -> float:
    """Mean loss at the temperature that suits these rows best, in eval mode.

    It tells how well the labels are told apart, and not whether the model is too sure, which is corrected
    afterwards.
    """
    target = batches.task.target
    mine = [
        (outputs.float().flatten(0, -2)[counted].cpu().numpy(), labels[counted].cpu().numpy())
        for _, batch, outputs in _forward(learner, batches, positions, workers)
        for labels, counted in [target.items(batch["labels"])]
    ]
    outputs, labels = (np.concatenate(parts) for parts in zip(*workers.gather(mine), strict=True))
    return target.calibrated_loss(outputs, labels) if np.isfinite(outputs).all() else float("inf")


def _forward(
    learner: nn.Module, batches: Batches, positions: Positions, workers: Workers
) -> Iterator[tuple[Positions, Batch, Tensor]]:
    """Batches and their logits, of as many rows at a time as fit."""

    def passed(part: Positions) -> tuple[Batch, Tensor]:
        batch = batches.collate(part)
        return batch, learner(**{k: v for k, v in batch.items() if k != "labels"})

    learner.eval()
    parts = batches.by_size(positions)
    mine = workers.share(parts)
    if not workers.sharded:
        with torch.inference_mode(), workers.accelerator.autocast():
            for part, (batch, logits) in in_parts(passed, mine, "as rows were predicted"):
                yield part, batch, logits
        return
    # What shards were gathered into in inference mode could never be trained.
    with torch.no_grad(), workers.accelerator.autocast():
        for part in mine:
            yield part, *passed(part)
        if workers.rank >= len(parts) % workers.size > 0:  # the others take one more, and need our shards
            passed(parts[0])
    reshard(learner)
