"""Better, worse, or can't tell: one-sided tests of paired differences on the same folds."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.runs.rank_record import Against
from hf_transfer.scores.statistics import corrected_resampled_t, holm

Floats = NDArray[np.float64]
Verdict = Literal["better", "worse", "can't tell"]

LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """A candidate compared with something else on the same folds.

    Attributes:
        other: What it is compared with.
        difference: Mean over folds; above 0 the candidate is ahead.
        interval: Of the difference, allowing for shared training rows, 95 %.
        p_better: That it is not ahead, adjusted for the number of candidates.
        p_worse: That it is not behind, adjusted likewise. NaN where all folds differ equally.
        verdict: `better` or `worse` where its p is below 0.05.
    """

    other: str
    difference: float
    interval: tuple[float, float]
    p_better: float
    p_worse: float
    verdict: Verdict

    @property
    def record(self) -> Against:
        """Itself as rank.json has it."""
        return Against(**vars(self))


def compare_all(
    pairs: Mapping[str, tuple[str, Floats, Floats]], num_folds: int, *, ordered: bool = False
) -> dict[str, Comparison]:
    """Test one question for several candidates, with adjusted p-values.

    The p-values are adjusted by Holm's rule over the candidates, for each direction by itself.

    Args:
        pairs: For each candidate the other's name, and the scores of both on the same folds, (J,).
        num_folds: Folds of one repeat.
        ordered: Whether the direction was read off the scores themselves; each p is then doubled.

    References:
        Wang et al., "Characterizing and avoiding negative transfer", CVPR 2019,
        https://arxiv.org/abs/1811.09751: worse than the same without the source is negative transfer.
    """
    tests = {name: _tested(ours - theirs, num_folds) for name, (_, ours, theirs) in pairs.items()}
    sides = 2 if ordered else 1
    better = holm([min(1.0, sides * p) if p == p else p for *_, p, _ in tests.values()])
    worse = holm([min(1.0, sides * p) if p == p else p for *_, p in tests.values()])
    return {
        name: Comparison(pairs[name][0], mean, interval, float(up), float(down), _verdict(up, down))
        for (name, (mean, interval, *_)), up, down in zip(tests.items(), better, worse, strict=True)
    }


def _tested(differences: Floats, num_folds: int) -> tuple[float, tuple[float, float], float, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a p-value of equal differences is not defined
        mean, interval, better = corrected_resampled_t(differences, num_folds, alternative="greater")
        worse = corrected_resampled_t(differences, num_folds, alternative="less").p
    return mean, interval, better, worse


def _verdict(better: float, worse: float) -> Verdict:
    return "better" if better < LEVEL else "worse" if worse < LEVEL else "can't tell"
