"""What every contender is given: the same rows, folds, base weights and settings."""

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, fields, replace
from functools import cached_property
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import datasets
import torch

from hf_transfer import (
    ImageClassification,
    LabelledData,
    RunConfig,
    SequenceClassification,
    Task,
    TokenClassification,
    cross_validate,
    open_dataset,
)
from hf_transfer.data.sealing import fold_columns
from hf_transfer.folds import FoldPlan, plan_folds

TASKS: dict[str, type[Task]] = {
    "image": ImageClassification,
    "text": SequenceClassification,
    "tokens": TokenClassification,
}
RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-4, 3e-4, 1e-1, 3e-1)  # the times do not depend on them
TAKES_RATES = "learning_rates" in {f.name for f in fields(RunConfig)}  # all rates in one cross-validation


@dataclass(frozen=True)
class Workload:
    """One cross-validation: its rows are opened and its folds planned when a peer asks for them.

    Attributes:
        config: Everything but the learning rates.
        kind: What a row's input is.
        num_rates: Learning rates to score.
    """

    config: RunConfig
    kind: str
    num_rates: int = 1

    @cached_property
    def data(self) -> LabelledData:
        """Rows and label names."""
        return open_dataset(self.config, TASKS[self.kind])

    @cached_property
    def task(self) -> Task:
        """Builds the model, and knows its processor."""
        return TASKS[self.kind](self.config, self.data.label_names)

    @cached_property
    def plan(self) -> FoldPlan:
        """The folds that the kit makes from these settings."""
        columns = fold_columns(self.task, self.data, self.config)
        ids = list(self.data.rows["row_id"])
        return plan_folds(
            ids, self.config.num_folds, seed=self.config.seed, columns=columns, scheme=self.config.scheme
        )

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates."""
        return RATES[: self.num_rates]

    @property
    def size(self) -> str:
        """How much work it is, in words."""
        config = self.config
        return (
            f"{config.num_folds} folds x {config.num_epochs} epochs x {self.num_rates} "
            f"rate{'s' if self.num_rates > 1 else ''}"
        )

    @property
    def small(self) -> "Workload":
        """The same on a few rows, to load libraries and files once before a clock starts."""
        rows = min(2 * self.config.batch_size, len(self.data.rows))
        return self.changed(max_rows=rows, num_folds=2, num_epochs=1, num_rates=1)

    def changed(self, *, num_rates: int | None = None, **settings: Any) -> "Workload":
        """The same with other settings."""
        return Workload(
            replace(self.config, **settings), self.kind, self.num_rates if num_rates is None else num_rates
        )


def run_kit(work: Workload) -> float:
    """Seconds from the data set's name to the scores: `open_dataset` and `cross_validate`."""
    rates: dict[str, Any] = {"learning_rates": work.rates} if TAKES_RATES and work.num_rates > 1 else {}
    config = replace(work.config, learning_rate=work.rates[0], **rates)
    clock = Clock()
    with redirect_stderr(StringIO()):  # a line for each fold
        data = open_dataset(config, TASKS[work.kind])
        result = cross_validate(TASKS[work.kind](config, data.label_names), data, config)
    seconds = clock.lap()
    failed = [fold.error for fold in result.folds if fold.status == "failed"]
    if failed:
        raise RuntimeError(f"{len(failed)} folds failed, so the time says nothing. The first: {failed[0]}")
    return seconds


def run_kit_anew(work: Workload) -> float:
    """The same with a folder and a cache of its own, so that nothing is found from an earlier run."""
    with TemporaryDirectory() as folder, empty_cache(Path(folder) / "cache"):
        return run_kit(work.changed(output_dir=str(Path(folder) / "run")))


@contextmanager
def empty_cache(folder: Path) -> Iterator[None]:
    """Let `datasets`, and the kit with it, keep its files in another folder for a while."""
    usual, datasets.config.HF_DATASETS_CACHE = datasets.config.HF_DATASETS_CACHE, folder
    try:
        yield
    finally:
        datasets.config.HF_DATASETS_CACHE = usual


class Clock:
    """Seconds from lap to lap, of work that is done: a GPU is waited for."""

    def __init__(self) -> None:
        self.began = self._now()

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = self._now()
        seconds, self.began = now - self.began, now
        return seconds

    def _now(self) -> float:
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()
        return perf_counter()
