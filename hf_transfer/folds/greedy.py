"""Assign units that cannot be cut (groups, sentences) to folds, so that the folds come out alike.

A unit is a row or a group of rows, and units are numbered in the order of their hash. Each function
gives the fold of each unit. The sums are of whole numbers, or of floats in a fixed order, never a
product of matrices: ties must fall the same way on every machine.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)

Ints = NDArray[np.int64]


def balance_sizes(sizes: Ints, num_folds: int) -> Ints:
    """Give each unit, the largest first, to the fold with the fewest rows.

    The sizes are those of scikit-learn's GroupKFold; which unit goes where differs by hash.

    Args:
        sizes: Rows of each unit, (u,).
        num_folds: Number of folds, at most u.
    """
    rows = [0] * num_folds
    folds = np.empty(len(sizes), dtype=np.int64)
    for unit in _largest_first(sizes):
        fold = rows.index(min(rows))
        folds[unit] = fold
        rows[fold] += int(sizes[unit])
    return folds


def balance_classes(units: Ints, classes: Ints, num_folds: int) -> Ints:
    """Give each unit, largest first, to the fold where it adds least to the squared deviation.

    The deviation is of class counts from their even share, as a share of the class, so that a rare
    class weighs as much as a common one. Of the squares only the cross term differs between folds:
    what the unit has of a class times what the fold has already.

    Args:
        units: Unit of each row, (n,).
        classes: Class of each row, (n,).
        num_folds: Number of folds, at most the number of units.
    """
    weights = [1.0 / (count * count) for count in np.bincount(classes).tolist()]
    counts = _class_counts(units, classes)
    held = [[0] * len(weights) for _ in range(num_folds)]
    rows = [0] * num_folds
    sizes = np.bincount(units)
    folds = np.empty(len(sizes), dtype=np.int64)
    for unit in _largest_first(sizes):
        added = [sum(n * weights[c] * fold[c] for c, n in counts[unit]) for fold in held]
        fold = min(range(num_folds), key=lambda i: (added[i], rows[i]))
        folds[unit] = fold
        rows[fold] += int(sizes[unit])
        for c, n in counts[unit]:
            held[fold][c] += n
    return folds


def balance_mentions(counts: Ints, sizes: Ints, num_folds: int) -> Ints:
    """Spread the mentions of each entity type over the folds, the rarest type first.

    A unit goes to the fold that wants most mentions of the type, then to the one with most room.
    Units without any mention fill up what room is left.

    Args:
        counts: Mentions of each type in each unit, (u, t).
        sizes: Rows of each unit, (u,).
        num_folds: Number of folds, at most u.

    References:
        Sechidis et al., "On the Stratification of Multi-Label Data", ECML PKDD 2011. Counts stand in
        for their 0 and 1, and units with most mentions of a type go first.
    """
    folds = np.full(len(sizes), -1, dtype=np.int64)
    # Times num_folds, so that shares are whole numbers and ties are exact.
    want = [counts.sum(axis=0).tolist() for _ in range(num_folds)]
    room = [int(sizes.sum())] * num_folds

    def give(unit: int, fold: int) -> None:
        folds[unit] = fold
        room[fold] -= num_folds * int(sizes[unit])
        want[fold] = [w - num_folds * n for w, n in zip(want[fold], counts[unit].tolist(), strict=True)]

    while (left := np.where(folds[:, None] < 0, counts, 0)).any():
        totals = left.sum(axis=0)
        rarest = int(np.argmin(np.where(totals > 0, totals, totals.max() + 1)))
        for unit in _largest_first(left[:, rarest]):
            if left[unit, rarest] == 0:
                break
            give(unit, max(range(num_folds), key=lambda i: (want[i][rarest], room[i], -i)))
    for unit in np.flatnonzero(folds < 0).tolist():
        give(unit, room.index(max(room)))
    return folds


def _largest_first(sizes: Ints) -> list[int]:
    order: list[int] = np.argsort(-sizes, kind="stable").tolist()
    return order


def _class_counts(units: Ints, classes: Ints) -> Sequence[list[tuple[int, int]]]:
    """Give for each unit its classes and how many rows it has of each, lowest class first."""
    num_classes = int(classes.max()) + 1
    counts: list[list[tuple[int, int]]] = [[] for _ in range(int(units.max()) + 1)]
    pairs, rows = np.unique(units * num_classes + classes, return_counts=True)
    for pair, n in zip(pairs.tolist(), rows.tolist(), strict=True):
        counts[pair // num_classes].append((pair % num_classes, n))
    return counts
