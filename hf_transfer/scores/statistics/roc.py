"""Areas under ROC curves of weighted rows."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.scores.statistics.counts import Floats, Ints, divide


@dataclass(frozen=True)
class RocCurve:
    """One class against the rest in one fold, as ranks: `order` sorts the fold's rows by score.

    Of each row of the class, `below` counts the rows with a lower score, `upto` those with a score
    that is not higher. Half-way between is its rank, ties shared.
    """

    order: NDArray[np.int32]  # a thousand classes make a thousand of these
    positives: NDArray[np.int32]
    below: NDArray[np.int32]
    upto: NDArray[np.int32]

    @classmethod
    def of(cls, positive: NDArray[np.bool_], scores: Floats, rows: NDArray[np.intp] | None = None) -> Self:
        """Make the curve of some rows.

        Args:
            positive: Which rows have the class, (n,).
            scores: Of each row, (n,).
            rows: What to call each row; its place when not given.
        """
        order = np.argsort(scores, kind="stable")
        below, upto = (np.searchsorted(scores[order], scores[positive], side) for side in ("left", "right"))
        names = np.arange(len(scores)) if rows is None else rows
        found = (names[order], names[positive], below, upto)
        return cls(*(places.astype(np.int32) for places in found))

    def area(self, weights: Floats) -> Floats:
        """Give the area under the curve, (b,), of rows weighted by (b, n)."""
        drawn = np.zeros((len(weights), len(self.order) + 1))
        np.cumsum(weights[:, self.order], axis=1, out=drawn[:, 1:])
        positive = weights[:, self.positives]
        num_positive = positive.sum(axis=1)
        ranks = (drawn[:, self.below] + drawn[:, self.upto]) / 2
        # The ranks count pairs of two positives too; these make up half of all such pairs.
        pairs = (positive * ranks).sum(axis=1) - num_positive**2 / 2
        return divide(pairs, num_positive * (drawn[:, -1] - num_positive))


def roc_curves(rows: NDArray[np.intp], labels: Ints, probabilities: Floats) -> list[RocCurve]:
    """Make the curves of one fold: one for two classes, otherwise one for each class that is there."""
    classes = np.unique(labels[rows])
    if len(classes) < 2:
        return []
    return [
        RocCurve.of(labels[rows] == column, probabilities[rows, column], rows)
        for column in (classes if probabilities.shape[1] > 2 else [1])
    ]
