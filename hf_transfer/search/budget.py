"""What a search will cost, told before it begins, and kept to while it runs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hf_transfer import _guard  # noqa: F401
from hf_transfer.models import placed
from hf_transfer.search.candidates import Candidate
from hf_transfer.search.trials import HALVES
from hf_transfer.study import Study

_PROBED_ROWS = 16
_SELF_COST = 0.3  # seconds that a training costs however short it is: a model is built, weights are hashed


class OverBudget(Exception):  # noqa: N818  (it ends the search in good order, and is nobody's error)
    """The time is up."""


@dataclass(frozen=True)
class Budget:
    """Hours that a search may take, from when it began by the monotonic clock."""

    began: float
    hours: float | None = None

    @property
    def left(self) -> float:
        """Seconds left; infinite without a limit."""
        return np.inf if self.hours is None else self.hours * 3600 - (time.monotonic() - self.began)

    def check(self) -> None:
        """Raise `OverBudget` when the time is up."""
        if self.left <= 0:
            raise OverBudget


@dataclass(frozen=True)
class Prices:
    """What trainings cost, in seconds.

    Attributes:
        forward: Seconds a row of one forward pass.
    """

    forward: float

    def training(self, candidate: Candidate, num_rows: float, num_epochs: int) -> float:
        """Seconds of one training."""
        return _SELF_COST + candidate.cost * self.forward * num_rows * num_epochs

    def selection(self, candidates: Sequence[Candidate], num_rows: int, num_epochs: int) -> float:
        """Seconds of all trials on so many rows at most: every rate on a half, the best on both."""
        learned = num_rows / HALVES
        return sum(
            (len(candidate.rates) + HALVES - 1)
            * (self.training(candidate, learned, num_epochs) + self.forward * learned)
            for candidate in candidates
        )

    def judging(
        self, candidates: Sequence[Candidate], num_rows: int, num_folds: int, num_epochs: int
    ) -> float:
        """Seconds of a cross-validation of each candidate."""
        learned = num_rows * (1 - 1 / num_folds)
        return num_folds * sum(self.training(one, learned, num_epochs) for one in candidates)


def measure(study: Study) -> Prices:
    """Time a forward pass over a few rows."""
    batches = study.replay.plain
    positions = np.linspace(0, len(batches.sizes) - 1, min(_PROBED_ROWS, len(batches.sizes))).astype(np.int64)
    batch = batches.collate(positions)
    del batch["labels"]
    model = placed(study.task.build_model(), study.accelerator.device).eval()
    learner = batches.learner(model)
    with torch.inference_mode(), study.accelerator.autocast():
        # The first pass warms up, and of the others the quickest was disturbed the least.
        seconds = [_timed(lambda: learner(**batch).sum().item()) for _ in range(4)]
    return Prices(min(seconds) / len(positions))


def _timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
