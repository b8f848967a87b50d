"""The gate: whether an adapted head may take the place of the source's own."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.runs.adapt_record import FEWEST_LABELS
from hf_transfer.runs.paired import LEVEL
from hf_transfer.scores.statistics.comparison import holm, mcnemar


@dataclass(frozen=True)
class Tested:
    """An arm on the labelled rows of the target, beside the head of the source.

    Attributes:
        name: Of the arm.
        right: Labelled rows that it has right.
        gained: Rows that it alone has right.
        lost: Rows that the source's head alone has right.
        p: One-sided, that it is no better: exact, of the rows where just one is right.
        adjusted: The same for the number of arms, by Holm's rule.
    """

    name: str
    right: int
    gained: int
    lost: int
    p: float
    adjusted: float


@dataclass(frozen=True)
class Gate:
    """Both conditions, and the arm that meets them.

    Attributes:
        shift_p: Of the test that source and target are the same.
        num_labels: Labelled rows of the target.
        source_right: Those that the source's head has right.
        arms: Each arm's test; none without labels enough.
        opened_for: The arm with the most rows right among those that are better; None for none.
    """

    shift_p: float
    num_labels: int
    source_right: int
    arms: tuple[Tested, ...]
    opened_for: str | None

    @property
    def shifted(self) -> bool:
        """Whether the target is another domain at all."""
        return self.shift_p < LEVEL

    @property
    def enough_labels(self) -> bool:
        """Whether there are labels enough for a test."""
        return self.num_labels >= FEWEST_LABELS


def judge_arms(
    shift_p: float, source_right: NDArray[np.bool_], arms_right: Mapping[str, NDArray[np.bool_]]
) -> Gate:
    """Test each arm against the source's head on the same labelled rows of the target.

    Rows that were not drawn at random, or that an arm has learned from, would say nothing of the others.

    Args:
        shift_p: Of the two-sample test on features.
        source_right: Whether the source's head has each labelled row right, (k,).
        arms_right: The same of each arm, by its name.
    """
    enough = len(source_right) >= FEWEST_LABELS
    tests = {name: mcnemar(right, source_right, alternative="greater") for name, right in arms_right.items()}
    adjusted = holm([test.p for test in tests.values()])
    arms = tuple(
        Tested(name, int(arms_right[name].sum()), test.only_first, test.only_second, test.p, float(p))
        for (name, test), p in zip(tests.items(), adjusted, strict=True)
    )
    better = [arm for arm in arms if arm.adjusted < LEVEL]
    best = max(better, key=lambda arm: arm.right, default=None)
    opened = best.name if best and enough and shift_p < LEVEL else None
    return Gate(shift_p, len(source_right), int(source_right.sum()), arms if enough else (), opened)
