"""Early stopping by the loss on an inner split."""

import math
from typing import Any

import torch
from torch import Tensor

from hf_transfer import _guard  # noqa: F401
from hf_transfer.replay.batching import Positions
from hf_transfer.training.job import Fitted, Job
from hf_transfer.training.predicting import mean_loss

_SMOOTHING = 0.5  # of the inner loss from epoch to epoch, before its minimum is taken


def smoothed(before: Any, loss: Any) -> Any:
    """Smooth the inner loss over epochs."""
    return _SMOOTHING * before + (1 - _SMOOTHING) * loss


class Stopper:
    """Early stopping by the smoothed loss on an inner split; keeps the best epoch's weights."""

    def __init__(self, fitted: Fitted, job: Job, inner: Positions | None) -> None:
        self.fitted, self.job, self.inner = fitted, job, inner
        self.smooth: float | None = None
        self.best, self.best_epoch, self.stopped = math.inf, 0, False
        self.kept: dict[str, Tensor] = {}

    def look(self) -> float | None:
        """Score the inner split after an epoch; None without one."""
        if self.inner is None:
            return None
        fitted = self.fitted
        loss = mean_loss(fitted.learner, fitted.batches, self.inner, self.job.workers, fitted.scale)
        self.smooth = loss if self.smooth is None else smoothed(self.smooth, loss)
        epoch = len(self.fitted.history) + 1
        if self.smooth < self.best:
            self.best, self.best_epoch = self.smooth, epoch
            self.kept = self.fitted.weights()
        self.stopped = epoch - self.best_epoch >= self.job.config.patience
        return loss

    def finish(self) -> int:
        """Restore the best epoch's weights, and return its number."""
        if self.inner is None:
            return len(self.fitted.history)
        self.fitted.load(self.kept)
        return self.best_epoch

    def values(self) -> dict[str, Any]:
        """State to save in a checkpoint, besides the best weights."""
        return {name: getattr(self, name) for name in ("smooth", "best", "best_epoch", "stopped")}

    def restore(self, values: dict[str, Any], kept: dict[str, Tensor]) -> None:
        """Restore a state that `values` returned."""
        for name, value in values.items():
            setattr(self, name, value)
        if self.best is None:  # JSON has no infinity
            self.best = math.inf
        self.kept = {
            name: torch.empty_like(tensor).copy_(kept[name])
            for name, tensor in self.fitted.moving()
            if name in kept
        }
