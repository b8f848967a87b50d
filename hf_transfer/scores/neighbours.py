"""Do rows that lie beside each other, or share a source, resemble each other more than chance allows?

Related rows do so twice: in their features, and in the errors of a model that knew none of them. Both are
tested by permutations within each class, so that rows stored class by class raise no alarm.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.folds.greedy import balance_classes
from hf_transfer.scores.statistics import holm

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Errors = Callable[[Ints], Floats]

LEVEL = 0.05
"""Of an alarm over all candidates together, where rows do not depend on one another."""

_MOST_DRAWS = 999
_ENOUGH = 20  # draws that reach what was seen: the p-value is then known well enough, and large
_DIRECTIONS = 32  # to which features are projected: permuting hundreds of columns would take a minute
_ORDER = 0.5  # share of distinct values above which a candidate is an order


@dataclass(frozen=True, eq=False)
class Labelled:
    """What the labels of rows say of them.

    Attributes:
        strata: Rows of one have labels as good as equal, (n,). Only they change places.
        classes: That folds are balanced by, (n,).
    """

    strata: Ints
    classes: Ints


@dataclass(frozen=True)
class Alike:
    """How alike related rows are, for one candidate.

    Attributes:
        is_order: Whether rows beside each other are compared, or rows of a group.
        p_features: That rows in any order have features as alike as these.
        p_errors: The same of the errors.
        p: The larger of the two, adjusted for the number of candidates (Holm).
        strength: How many standard deviations the features are more alike than those of permuted rows.
    """

    is_order: bool
    p_features: float
    p_errors: float
    p: float
    strength: float

    @property
    def speaks(self) -> bool:
        """Whether related rows are more alike than chance in features and errors."""
        return self.p < LEVEL


def alike(
    features: NDArray[Any], errors_of: Errors, rows: Labelled, candidates: Mapping[str, Ints], *, seed: int
) -> dict[str, Alike]:
    """Test each candidate; the probability that any speaks of independent rows is at most 5 %.

    Args:
        features: (n, d).
        errors_of: Given a half, 0 or 1, for each row, what a model that learned from the other half is off
            by, (n, c). Each source is in one half: a model that knew its other rows would make few errors.
        rows: What is known of their labels.
        candidates: By name, a number for each row, (n,): equal ones share a source; where most differ,
            they are an order.
        seed: Of the permutations.

    Returns:
        Those that differ within a class, by name.

    References:
        Besag and Clifford, "Sequential Monte Carlo p-values", Biometrika 78, 1991: draws stop early where
        the answer is no. Mantel, "The detection of disease clustering and a generalized regression
        approach", Cancer Research 27, 1967.
    """
    directions, found = _directed(centred(features, rows.strata), seed), {}
    for name, keys in candidates.items():
        if len(np.unique(rows.strata)) < len(np.unique(np.stack([rows.strata, keys]), axis=1).T):
            found[name] = _tested(directions, errors_of, rows, keys, np.random.default_rng(seed))
    adjusted = holm([one.p for one in found.values()])
    return {name: replace(one, p=p) for (name, one), p in zip(found.items(), adjusted.tolist(), strict=True)}


def _tested(
    directions: Floats, errors_of: Errors, rows: Labelled, keys: Ints, rng: np.random.Generator
) -> Alike:
    """Test features within strata and, if they are alike, errors within the halves of strata."""
    p_features, strength = _permuted(directions, rows.strata, keys, rng)
    p_errors = 1.0
    if p_features < LEVEL:
        halves = blocks(rows.classes, keys, 2)
        parts = 2 * rows.strata + halves  # whose rows meet one model, and may change places
        p_errors, _ = _permuted(centred(errors_of(halves), parts), parts, keys, rng)
    return Alike(is_an_order(keys), p_features, p_errors, max(p_features, p_errors), strength)


def blocks(classes: Ints, keys: Ints, num_folds: int) -> Ints:
    """Fold of each row: runs of an order within each class, or whole groups with the classes balanced."""
    if not is_an_order(keys):
        ids, of_class = (np.unique(one, return_inverse=True)[1] for one in (keys, classes))
        return balance_classes(ids, of_class, num_folds)[ids]
    folds = np.empty(len(keys), np.int64)
    order = np.lexsort((keys, classes))
    for rows in np.split(order, np.flatnonzero(np.diff(classes[order])) + 1):
        folds[rows] = np.arange(len(rows)) * num_folds // len(rows)
    return folds


def is_an_order(keys: Ints) -> bool:
    """Whether so many keys differ that they can only put rows in order."""
    return len(np.unique(keys)) > _ORDER * len(keys)


def centred(values: NDArray[Any], strata: Ints) -> Floats:
    """Values without the mean of their stratum, (n, c)."""
    table = np.asarray(values, np.float64).reshape(len(strata), -1)
    ids = np.unique(strata, return_inverse=True)[1]
    sums = np.zeros((int(ids.max()) + 1, table.shape[1]))
    np.add.at(sums, ids, table)
    return table - (sums / np.bincount(ids)[:, None])[ids]


def _directed(table: Floats, seed: int) -> Floats:
    """Directions of rows of features, of length one, in few dimensions."""
    if table.shape[1] > _DIRECTIONS:
        table = table @ np.random.default_rng(seed).standard_normal((table.shape[1], _DIRECTIONS))
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    return np.asarray(table / np.where(lengths > 0, lengths, 1.0))


Likeness = Callable[[Floats], float]


def _beside(table: Floats) -> float:
    """Sum of the products of rows that follow each other."""
    return float((table[1:] * table[:-1]).sum())


def _within(keys: Ints) -> Likeness:
    """Sum of the products of all rows of a group, those with themselves too; equal keys stand together."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(keys)) + 1])
    return lambda table: float((np.add.reduceat(table, starts) ** 2).sum())


def _permuted(table: Floats, strata: Ints, keys: Ints, rng: np.random.Generator) -> tuple[float, float]:
    """The p-value of a likeness, and by how many deviations it exceeds that of permuted rows."""
    order = np.argsort(keys, kind="stable")
    table, strata = table[order], strata[order]
    likeness = _beside if is_an_order(keys) else _within(keys[order])
    seen, drawn, reached = likeness(table), [], 0
    least = seen - 1e-9 * abs(seen)  # sums of the same products in another order
    for permutation in islice(_permutations(strata, rng), _MOST_DRAWS):
        drawn.append(likeness(table[permutation]))
        reached += drawn[-1] >= least
        if reached == _ENOUGH:
            return reached / len(drawn), 0.0
    spread = float(np.std(drawn))
    return (reached + 1) / (_MOST_DRAWS + 1), (seen - float(np.mean(drawn))) / spread if spread else 0.0


def _permutations(strata: Ints, rng: np.random.Generator) -> Iterator[Ints]:
    """Orders in which rows of a stratum have changed places."""
    ranks = np.unique(strata, return_inverse=True)[1]
    places, order = np.argsort(ranks, kind="stable"), np.empty(len(ranks), np.int64)
    while True:
        order[places] = np.argsort(ranks + rng.random(len(ranks)))
        yield order
