"""Trials of a search: short trainings on inner splits, each kept in a file of its own."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hf_transfer import _guard  # noqa: F401
from hf_transfer.encoding import encoded_positions
from hf_transfer.errors import RunError
from hf_transfer.files import write_json
from hf_transfer.folds import FoldPlan, derive_seed, plan_among
from hf_transfer.scoring import mean_loss
from hf_transfer.search.candidates import Candidate
from hf_transfer.study import RowNumbers, Study
from hf_transfer.training import Job, fit
from hf_transfer.workers import Workers

_FAILURES = (RunError, RuntimeError, ArithmeticError)


@dataclass(frozen=True)
class Entry:
    """A candidate at one learning rate."""

    candidate: Candidate
    rate: float

    @property
    def title(self) -> str:
        """In words."""
        return f"{self.candidate.name} at {self.rate:g}"


@dataclass(frozen=True)
class Trial:
    """One short training: what, on which inner split, for how long, and the loss it reached."""

    entry: Entry
    split: int
    num_epochs: int
    loss: float
    seconds: float


@dataclass
class Trials:
    """The trials on some rows of a study, which are cut into inner splits.

    Args:
        study: Whose rows, replay and folder are used.
        rows: Numbers of the rows to select by; nothing else is read.
        tag: Names them, where a run has several such selections.
        num_splits: Inner folds, m.
        on_trial: Is told of each trial, and of whether it was found from before; may raise to stop.
    """

    study: Study
    rows: RowNumbers
    tag: str
    num_splits: int = 3
    on_trial: Callable[[Trial, bool], None] | None = None
    done: dict[tuple[Entry, int, int], Trial] = field(default_factory=dict)

    @cached_property
    def splits(self) -> list[tuple[RowNumbers, RowNumbers]]:
        """Rows to learn from and rows to score, of each inner fold, by the scheme of the real folds."""
        plan = inner_plan(self.study, self.rows, self.tag, self.num_splits)
        return [(plan.train(i), plan.valid(i)) for i in plan.scored_folds]

    def run(self, wanted: Sequence[tuple[Entry, int, int]]) -> list[Trial]:
        """Train (entry, split, epochs), each process its share; what was found before is read."""
        accelerator = self.study.accelerator
        missing = [one for one in wanted if one not in self.done]
        for number, one in enumerate(missing):
            if number % accelerator.num_processes == accelerator.process_index:
                self._one(*one)
        accelerator.wait_for_everyone()
        self.done |= {one: self._read(*one) for one in missing}
        return [self.done[one] for one in wanted]

    def _one(self, entry: Entry, split: int, num_epochs: int) -> None:
        path = self._path(entry, split, num_epochs)
        before = path.is_file()
        if not before:
            trial = self._train(entry, split, num_epochs)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, self._record(trial))
        if self.on_trial:
            self.on_trial(self._read(entry, split, num_epochs), before)

    def _train(self, entry: Entry, split: int, num_epochs: int) -> Trial:
        began = time.monotonic()
        study = self.study
        learn, score = (encoded_positions(study.row_of, rows) for rows in self.splits[split])
        config = replace(entry.candidate.at(entry.rate), num_epochs=num_epochs, early_stopping=False)
        workers = Workers(study.accelerator, together=False)
        # The same seed for all of a split: they differ in what is tried, and in nothing else.
        seed = derive_seed(study.config.seed, "search", self.tag, split)
        try:
            fitted = fit(Job(study.task, study.replay, config, seed, workers, entry.title), learn)
            loss = mean_loss(fitted.learner, fitted.batches, score, workers)
        except _FAILURES:
            loss = math.inf
        loss = loss if math.isfinite(loss) else math.inf
        return Trial(entry, split, num_epochs, loss, time.monotonic() - began)

    def _record(self, trial: Trial) -> dict[str, Any]:
        return {
            "tag": self.tag,
            "candidate": trial.entry.candidate.name,
            "learning_rate": trial.entry.rate,
            "split": trial.split,
            "num_epochs": trial.num_epochs,
            "loss": trial.loss,  # null when it was infinite
            "seconds": trial.seconds,
        }

    def _read(self, entry: Entry, split: int, num_epochs: int) -> Trial:
        record = json.loads(self._path(entry, split, num_epochs).read_text(encoding="utf-8"))
        loss = math.inf if record["loss"] is None else record["loss"]
        return Trial(entry, split, num_epochs, loss, record["seconds"])

    def _path(self, entry: Entry, split: int, num_epochs: int) -> Path:
        """A file for each trial, named after all that decides its result."""
        rows = hashlib.blake2b(np.sort(self.rows).tobytes(), digest_size=8).hexdigest()
        parts = [self.study.identity(entry.candidate.at(entry.rate)), rows, self.tag, split, num_epochs]
        name = hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()
        return self.study.folder.path / "search" / f"{name}.json"


def inner_plan(study: Study, rows: RowNumbers, tag: str, num_folds: int) -> FoldPlan:
    """Folds of some rows by the scheme of a study; where its folds were given, by what else there is."""
    scheme = study.config.scheme
    return plan_among(
        rows,
        study.uids,
        num_folds,
        seed=derive_seed(study.config.seed, "search", tag),
        columns=replace(study.columns, folds=None),
        scheme="auto" if scheme == "predefined" else scheme,
    )
