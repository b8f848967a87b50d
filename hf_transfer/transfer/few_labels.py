"""Use a few labels of the target: beside the source's in training, or alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.scores.regression import EXACT, NEAR_ENOUGH, Classifier, LinearProblem
from hf_transfer.transfer.arms import Domains, Labels, best_strength, parts_of

Rows = NDArray[np.int64]

_HALF = 0.5  # what the target's labels count beside the source's, however few they are
_PARTS = 10  # of the target's labels, each judged by heads that have not seen it


@dataclass(frozen=True, eq=False)
class FewLabels:
    """Labels of some rows of the target.

    Attributes:
        rows: Positions in the target, (k,).
        labels: Their classes, (k,), as the source numbers them.
    """

    rows: Rows
    labels: Labels

    @classmethod
    def of(cls, rows: Sequence[int], labels: Sequence[int]) -> Self:
        """From lists."""
        return cls(np.asarray(rows, np.int64), np.asarray(labels, np.int64))

    @classmethod
    def none(cls) -> Self:
        """No row has a label."""
        return cls.of([], [])

    def part(self, chosen: Rows) -> Self:
        """Some of them."""
        return type(self)(self.rows[chosen], self.labels[chosen])


FewFit = Callable[[Domains, FewLabels, float], Classifier]
"""Of both domains, the labels, and how near to its optimum the head must be."""


def with_labels(domains: Domains, few: FewLabels, tolerance: float = EXACT) -> Classifier:
    """Solve the head on the source and the target's few labels, which count for half together.

    The penalty is the source's own.
    """
    num_source, num_few = len(domains.labels), len(few.labels)
    problem = LinearProblem(
        np.concatenate([domains.source, domains.target[few.rows]]),
        np.concatenate([domains.labels, few.labels]),
        domains.num_classes,
        shares=np.repeat([(1 - _HALF) / num_source, _HALF / num_few], [num_source, num_few]),
    )
    return problem.solve([domains.strength], tolerance)[domains.strength]


def labels_alone(domains: Domains, few: FewLabels, tolerance: float = EXACT) -> Classifier:
    """Solve the head on the target's few labels alone, with a penalty that they choose themselves."""
    problem = LinearProblem(domains.target[few.rows], few.labels, domains.num_classes)
    strength = best_strength(problem)
    return problem.solve([strength], tolerance)[strength]


def cross_fitted(fit: FewFit, domains: Domains, few: FewLabels) -> Rows:
    """Classes of the labelled rows, each by a head that was fitted without its own label, (k,)."""
    found = np.zeros(len(few.rows), np.int64)
    for learn, check in parts_of(few.labels, min(_PARTS, len(few.rows))):
        scores = fit(domains, few.part(learn), NEAR_ENOUGH).scores(domains.target[few.rows[check]])
        found[check] = scores.argmax(axis=1)
    return found
