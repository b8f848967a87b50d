"""Heads of several base models under the same folds: their logits inside and outside each training part."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.data.sealing import fold_columns
from hf_transfer.errors import DataError
from hf_transfer.folds import derive_seed, inner_folds
from hf_transfer.scores.combining import BlockProblem, Outputs
from hf_transfer.scores.regression import EXACT, LinearProblem
from hf_transfer.selection.rank.benchmark import Benchmark
from hf_transfer.training.heads.solvers import INVERSES
from hf_transfer.transfer.features import DomainFeatures, chosen

Ints = NDArray[np.int64]
Splits = Sequence[tuple[Ints, Ints]]


def in_order_of(first: DomainFeatures, other: DomainFeatures) -> DomainFeatures:
    """The rows of another model's features in the order of the first's, by their ids.

    Raises:
        DataError: If they are not of the same rows.
    """
    place = {row_id: i for i, row_id in enumerate(other.row_ids)}
    if place.keys() != {*first.row_ids}:
        raise DataError(
            f"Two models have features of different rows: {len(first)} and {len(other)}, which are to be the "
            "same. Give models that read all of them."
        )
    return chosen(other, [place[row_id] for row_id in first.row_ids])


@dataclass(frozen=True, eq=False)
class MemberHeads:
    """Solves the heads of some members in the folds of a benchmark.

    Attributes:
        benchmark: The rows and their folds.
        features: Of each member, (n, d).
        side_by_side: Whether the features of all are one table, for one head.
    """

    benchmark: Benchmark
    features: Sequence[NDArray[np.floating]]
    side_by_side: bool = False

    def outputs(self, fold: int) -> Outputs:
        """Logits of every member in one of the benchmark's splits."""
        train, valid = self.benchmark.splits[fold]
        inner = self._inner(train, fold)
        found = [self._member(values, train, valid, inner) for values in self._tables]
        asked = np.concatenate([check for _, check in inner])
        labels = self.benchmark.labels
        parts = (np.stack(part) for part in zip(*found, strict=True))
        inside, learned, held_out = parts
        return Outputs(inside, labels[train][asked], learned, labels[train], held_out)

    @property
    def _tables(self) -> list[NDArray[np.floating]]:
        return [np.hstack(self.features)] if self.side_by_side else list(self.features)

    def _member(
        self, values: NDArray[np.floating], train: Ints, valid: Ints, inner: Splits
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        problem = self._problem(values[train], self.benchmark.labels[train])
        strength = problem.choose([1 / (c * len(train)) for c in INVERSES], inner)
        inside = [
            problem.part(learn).solve([strength], EXACT)[strength].scores(values[train][check])
            for learn, check in inner
        ]
        head = problem.solve([strength])[strength]
        return np.concatenate(inside), head.scores(values[train]), head.scores(values[valid])

    def _problem(self, values: NDArray[np.floating], labels: Ints) -> LinearProblem:
        num_classes = self.benchmark.measure.num_classes
        if not self.side_by_side:
            return LinearProblem(values, labels, num_classes)
        return BlockProblem(values, labels, num_classes, widths=[one.shape[1] for one in self.features])

    def _inner(self, train: Ints, fold: int) -> Splits:
        """Inner folds of a training part, in places among its rows."""
        config, data = self.benchmark.config, self.benchmark.data
        columns = fold_columns(data.task(config, data.target), data, config)
        seed = derive_seed(config.seed, "combine", fold)
        found = inner_folds(train, self.benchmark.uids, seed=seed, columns=columns, scheme=config.scheme)
        return [(np.searchsorted(train, learn), np.searchsorted(train, check)) for learn, check in found]
