"""Linear heads on stored features: what a model that learns from one data set says of other rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.data.sealing import fold_columns
from hf_transfer.folds import plan_folds
from hf_transfer.scores.regression import Classifier
from hf_transfer.training.heads.solvers import INVERSES
from hf_transfer.transfer.features import DomainFeatures

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SourceHead:
    """A linear head for the labels of a data set, as a run with a frozen backbone would solve it.

    Attributes:
        features: Of the labelled rows.
    """

    features: DomainFeatures

    @cached_property
    def folds(self) -> Ints:
        """The fold that holds each row out, (n,), as the folds of a run with these settings; groups whole."""
        task, data = self.features.task, self.features.data
        config = task.settings
        plan = plan_folds(
            self.features.row_ids,
            config.num_folds,
            seed=config.seed,
            columns=fold_columns(task, data, config),
            scheme=config.scheme,
            strict=config.strict,
        )
        return plan.fold_of_row()

    @cached_property
    def strength(self) -> float:
        """The penalty that does best on held-out folds."""
        rows = np.arange(len(self.features))
        splits = [(rows[self.folds != fold], rows[self.folds == fold]) for fold in self._numbers]
        strengths = [1 / (inverse * len(rows)) for inverse in INVERSES]
        return float(self._problem(rows).choose(strengths, splits))

    @cached_property
    def whole(self) -> Classifier:
        """The head that learned from all rows."""
        return self.of(np.arange(len(self.features)))

    @cached_property
    def out_of_fold(self) -> Floats:
        """Logits of each row by the head that did not learn from its fold, (n, c)."""
        return self.held_out(np.arange(len(self.features)))

    def of(self, rows: Ints) -> Classifier:
        """The head that learned from some rows."""
        found: Classifier = self._problem(rows).solve([self.strength])[self.strength]
        return found

    def held_out(self, rows: Ints) -> Floats:
        """Logits of some rows, each by the head that learned from those of them that are in other folds."""
        found = np.zeros((len(rows), len(self.features.label_names)))
        folds = self.folds[rows]
        if folds.min() == folds.max():  # of two folds one is left out
            folds = np.arange(len(rows)) % 2
        for fold in np.unique(folds):
            head = self.of(rows[folds != fold])
            found[folds == fold] = head.scores(self.features.values[rows[folds == fold]])
        return found

    @property
    def _numbers(self) -> Sequence[int]:
        return [int(fold) for fold in np.unique(self.folds) if fold >= 0]

    def _problem(self, rows: Ints) -> Any:
        target, labels = self.features.task.target, self.features.labels
        if labels is None:  # the rows to learn from were opened with labels
            raise ValueError("a head needs labels")
        values = self.features.values[rows]
        return target.linear_problem(values, labels[rows], solver=target.solvers[0])
