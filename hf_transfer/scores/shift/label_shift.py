"""Does a model give the labels in the same shares in two data sets?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LabelShift:
    """How often each label was given in either data set, (c,) each, and how far the shares differ.

    Attributes:
        first: Rows of the first data set.
        second: Rows of the second.
        statistic: Pearson's chi-square of the table.
        p: That shares of one domain differ as much, by permutation.
    """

    first: Ints
    second: Ints
    statistic: float
    p: float


def label_shift(
    first: Ints,
    second: Ints,
    num_classes: int,
    *,
    groups: tuple[Ints | None, Ints | None] = (None, None),
    num_permutations: int = 999,
    seed: int = 0,
) -> LabelShift:
    """Compare the labels that a model gives to the rows of two data sets.

    Args:
        first: Class of each row, (n,).
        second: Class of each row, (m,).
        num_classes: Number of classes, c.
        groups: The group of each row of either, where rows of one belong together.
        num_permutations: How many.
        seed: Of the permutations.

    References:
        Lipton, Wang and Smola, "Detecting and correcting for label shift with black box predictors", ICML
        2018.
    """
    tables = [_of_units(labels, num_classes, of) for labels, of in zip((first, second), groups, strict=True)]
    units, in_second = np.concatenate(tables), np.repeat([0.0, 1.0], [len(table) for table in tables])
    counts = [table.sum(axis=0) for table in tables]
    statistic = float(chi_squares(counts[0][None], counts[1][None])[0])
    rng = np.random.Generator(np.random.PCG64(seed))
    drawn = np.stack([rng.permutation(in_second) for _ in range(num_permutations)]) @ units
    by_chance = chi_squares(units.sum(axis=0) - drawn, drawn)
    reached = (by_chance >= statistic - 1e-9).sum()
    p = float((1 + reached) / (1 + num_permutations))
    return LabelShift(counts[0].astype(np.int64), counts[1].astype(np.int64), statistic, p)


def chi_squares(first: Floats, second: Floats) -> Floats:
    """Pearson's chi-square of tables of two rows, (b,), each of counts (b, c)."""
    both = first + second
    total = both.sum(axis=1, keepdims=True)
    found = np.zeros(len(both))
    for counts in (first, second):
        expected = both * counts.sum(axis=1, keepdims=True) / total
        found += ((counts - expected) ** 2 / np.where(expected > 0, expected, 1)).sum(axis=1)
    return found


def _of_units(labels: Ints, num_classes: int, groups: Ints | None) -> Floats:
    """How often each row, or each group, has each class, (u, c)."""
    units = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    table = np.zeros((int(units.max()) + 1, num_classes))
    np.add.at(table, (units, labels), 1)
    return table
