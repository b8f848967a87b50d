"""Estimate the cost of a search before it begins, and stop it when the time is up."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hf_transfer import _guard  # noqa: F401
from hf_transfer.selection.search.candidates import Candidate
from hf_transfer.selection.search.trials import HALVES
from hf_transfer.study.estimate import forward_seconds
from hf_transfer.study.fold_runner import FoldRunner

_SELF_COST = 0.3  # seconds that a training costs however short it is: a model is built, weights are hashed


class OverBudget(Exception):  # noqa: N818  (it ends the search in good order, and is nobody's error)
    """The search has used up its time."""


@dataclass(frozen=True)
class Budget:
    """The hours that a search may take, counted from its start."""

    began: float
    hours: float | None = None

    @property
    def left(self) -> float:
        """Seconds left; infinite without a limit."""
        return np.inf if self.hours is None else self.hours * 3600 - (time.monotonic() - self.began)

    def check(self) -> None:
        """Raise `OverBudget` if the time is up."""
        if self.left <= 0:
            raise OverBudget


@dataclass(frozen=True)
class Prices:
    """Estimated seconds of trainings, from the time of one forward pass.

    Attributes:
        forward: Seconds a row of one forward pass.
    """

    forward: float

    def training(self, candidate: Candidate, num_rows: float) -> float:
        """Estimated seconds of one training."""
        return _SELF_COST + candidate.passes * self.forward * num_rows

    def trial(self, candidate: Candidate, num_rows: int) -> float:
        """Estimated seconds of one trial on half of so many rows."""
        return self.training(candidate, num_rows / HALVES) + self.forward * num_rows / HALVES

    def judging(self, candidates: Sequence[Candidate], num_rows: int, num_folds: int) -> float:
        """Seconds to cross-validate each of these candidates."""
        learned = num_rows * (1 - 1 / num_folds)
        return num_folds * sum(self.training(one, learned) for one in candidates)


def measure(runner: FoldRunner) -> Prices:
    """Time a forward pass over a few rows."""
    return Prices(forward_seconds(runner))
