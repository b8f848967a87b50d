"""Can a linear model tell the rows of two data sets apart? A classifier two-sample test with an exact p."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.stats import rankdata

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Features = NDArray[np.floating]

LEVEL = 0.05
FEW = 20  # rows of each side: with fewer, the area of rows that are left out is well below 0.5 by chance
_NO_SPREAD = 1e-9  # of the largest: a feature that does not vary


@dataclass(frozen=True, eq=False)
class TwoSamples:
    """How well rows of two data sets are told apart by a model that has not seen them.

    Attributes:
        auc: Area under the ROC curve: 0.5 for rows of one domain, 1 where none is mistaken.
        p: That rows of one domain are told apart as well; one-sided.
        a_distance: 2 (1 - 2 e), where e is the share of mistaken rows, at least 0; from 0 to 2.
        found_from: The area from which on p would be below 0.05, with as many rows.
        scores: How much each row seems to be of the second data set, those of the first one first.
        num_permutations: Of the test.
    """

    auc: float
    p: float
    a_distance: float
    found_from: float
    scores: Floats
    num_permutations: int


def two_sample_test(
    first: Features,
    second: Features,
    *,
    groups: tuple[Ints | None, Ints | None] = (None, None),
    num_permutations: int = 199,
    seed: int = 0,
) -> TwoSamples:
    """Test whether rows of two data sets are exchangeable, by ridge regression that leaves rows out.

    A linear model learns which rows are of the second data set, and each row is scored by the model that
    has not seen it, nor any other row of its group: in closed form, from one matrix. The p-value is that of
    a permutation test, in which rows, or whole groups, change data sets.

    Args:
        first: Features, (n, d).
        second: Features, (m, d).
        groups: The group of each row of either, where rows of one belong together.
        num_permutations: How many; the least p is 1 / (1 + this).
        seed: Of the permutations.

    Raises:
        DataError: If they have so few rows, or groups, that no p-value could be below 0.05.

    References:
        Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", ICLR 2017.
        Ben-David et al., "Analysis of representations for domain adaptation", NIPS 2006: the A-distance.
    """
    units = _units(len(first), len(second), groups)
    signs = np.repeat([-1.0, 1.0], [len(first), len(second)])
    left_out = _LeftOut(np.concatenate([first, second]), units)
    scores = left_out.scores(signs[:, None])
    auc = float(areas(scores, signs[:, None])[0])
    drawn = _permuted(signs, units, num_permutations, seed)
    by_chance = areas(left_out.scores(drawn), drawn)
    p = float((1 + (by_chance >= auc).sum()) / (1 + num_permutations))
    own = scores[:, 0]
    return TwoSamples(auc, p, _a_distance(own, signs), _found_from(by_chance), own, num_permutations)


def areas(scores: Floats, signs: Floats) -> Floats:
    """Area under the ROC curve of each column, (p,), for rows of sign 1 against those of -1, (n, p)."""
    positive = signs > 0
    num_positive = positive.sum(axis=0)
    ranks = (rankdata(scores, axis=0) * positive).sum(axis=0)
    pairs = num_positive * (len(signs) - num_positive)
    return np.asarray((ranks - num_positive * (num_positive + 1) / 2) / pairs, np.float64)


def halves(groups: Ints | None, num_rows: int, seed: int) -> tuple[Ints, Ints]:
    """Two random halves of the rows of one data set; groups stay whole."""
    units = np.arange(num_rows) if groups is None else groups
    order = np.random.Generator(np.random.PCG64(seed)).permutation(np.unique(units))
    in_first = np.isin(units, order[: len(order) // 2])
    return np.flatnonzero(in_first), np.flatnonzero(~in_first)


def _units(num_first: int, num_second: int, groups: tuple[Ints | None, Ints | None]) -> Ints:
    """A number for what changes data sets together: a row, or the rows of a group in one data set."""
    sides = [
        np.arange(size) if given is None else np.unique(given, return_inverse=True)[1]
        for size, given in zip((num_first, num_second), groups, strict=True)
    ]
    sizes = [len(np.unique(side)) for side in sides]
    ways = math.comb(sum(sizes), sizes[0])  # two of them are told apart as well: sides may change names
    if min(sizes) == 0 or 2 / ways >= LEVEL:
        noun, rest = (
            ("rows", "") if groups[0] is groups[1] is None else ("groups", ", or leave --group_by out")
        )
        raise DataError(
            f"Too few {noun} to tell data sets apart: {sizes[0]} and {sizes[1]}, of which p could not be "
            f"below {LEVEL}, whatever they hold. Give four {noun} of each or more{rest}."
        )
    return np.concatenate([sides[0], sides[1] + sides[0].max() + 1]).astype(np.int64)


class _LeftOut:
    """What ridge regression says of each row, learned from all rows but those of the row's own unit.

    The penalty is the number of features, which are standardised over all rows, whatever data set they
    are of: so that nothing but the labels differs between permutations.
    """

    def __init__(self, features: Features, units: Ints) -> None:
        table = np.asarray(features, np.float64)
        spread = table.std(axis=0)
        varying = spread > _NO_SPREAD * max(float(spread.max(initial=0)), np.finfo(np.float64).tiny)
        table = (table[:, varying] - table[:, varying].mean(axis=0)) / spread[varying]
        n, penalty = len(table), float(max(1, varying.sum()))
        gram = table @ table.T
        inner = gram + penalty * np.eye(n)
        self.hat: Floats = linalg.solve(inner, gram, assume_a="pos") + 1 / n
        self.blocks = [np.flatnonzero(units == unit) for unit in range(int(units.max()) + 1)]
        self.alone = all(len(block) == 1 for block in self.blocks)

    def scores(self, targets: Floats) -> Floats:
        """Scores of several labellings, (n, p)."""
        errors = targets - self.hat @ targets
        if self.alone:
            return np.asarray(targets - errors / (1 - np.diag(self.hat))[:, None])
        found = np.empty_like(targets)
        for block in self.blocks:
            own = np.eye(len(block)) - self.hat[np.ix_(block, block)]
            found[block] = targets[block] - linalg.solve(own, errors[block])
        return found


def _permuted(signs: Floats, units: Ints, number: int, seed: int) -> Floats:
    """The signs with units at places of each other, (n, p)."""
    rng = np.random.Generator(np.random.PCG64(seed))
    of_unit = signs[np.unique(units, return_index=True)[1]]
    return np.stack([rng.permutation(of_unit)[units] for _ in range(number)], axis=1)


def _a_distance(scores: Floats, signs: Floats) -> float:
    wrong = np.where(scores == 0, 0.5, (scores > 0) != (signs > 0))
    error = (wrong[signs > 0].mean() + wrong[signs < 0].mean()) / 2
    return float(max(0.0, 2 * (1 - 2 * error)))


def _found_from(by_chance: Floats) -> float:
    """The least area whose p-value is below the level."""
    allowed = int(np.ceil(LEVEL * (len(by_chance) + 1))) - 2  # of them may reach it
    return float(np.sort(by_chance)[::-1][max(0, allowed)]) if allowed >= 0 else 1.0
