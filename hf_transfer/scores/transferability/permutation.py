"""Permutation test of the ridge probe: would shuffled labels have scored as well?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError
from hf_transfer.scores.transferability.measure import Measure
from hf_transfer.scores.transferability.probe import Floats, Split, checked, checked_labels
from hf_transfer.scores.transferability.ridge import Ridge, rows_of

_AT_ONCE = 20_000_000  # indicators in an array of rows x classes x labellings


@dataclass(frozen=True, eq=False)
class Permutation:
    """The score with true labels, and those with shuffled ones.

    Attributes:
        score: Of the true labels.
        shuffled: Of each shuffle, (b,).
        p: Share of labellings, the true one counted, that score at least as high.
    """

    score: float
    shuffled: Floats
    p: float


def shuffled_labels(
    labels: ArrayLike,
    num_permutations: int = 199,
    *,
    folds: ArrayLike,
    units: ArrayLike | None = None,
    seed: int,
) -> NDArray[Any]:
    """Put the labels of each fold in random orders, (b, n, …).

    Each fold keeps its labels, as folds are balanced by them: labels that change folds would unbalance
    them, score lower for that alone, and make the true ones look better than they are.

    Args:
        labels: Of each row, (n, …).
        num_permutations: How many orders, b.
        folds: The fold that holds each row out, (n,).
        units: Rows whose labels belong together, (n,): a patient's, a sentence's. The labels are then
            laid out unit by unit and the units change places as a whole, as the rows of a unit are no
            independent evidence. The labels within a unit also move on by a random number of rows, around
            its end: units that hold the same labels in the same order would only change places with
            their like, and the "shuffled" labels be the true ones. Each row by itself when not given.
        seed: Of the orders.

    Raises:
        DataError: If there is not one fold and one unit a row.
    """
    classes: Any = np.asarray(labels)
    held = np.unique(np.asarray(folds), return_inverse=True)[1]
    own = np.arange(len(classes)) if units is None else np.unique(np.asarray(units), return_inverse=True)[1]
    if len(own) != len(classes) or len(held) != len(classes):
        raise DataError(
            f"Expected a fold and a unit for each of {len(classes)} rows, got {len(held)} and {len(own)}."
        )
    rng, steps = (np.random.Generator(np.random.PCG64(own_seed)) for own_seed in (seed, [seed, 1]))
    shuffled = np.empty((num_permutations, *classes.shape), classes.dtype)
    for fold in range(int(held.max()) + 1):
        inside = np.flatnonzero(held == fold)
        ordered = inside[np.argsort(own[inside], kind="stable")]
        places = np.arange(len(inside))
        blocks = np.split(places, np.flatnonzero(np.diff(own[ordered])) + 1)
        sizes = np.array([len(block) for block in blocks])
        firsts, lengths = np.repeat(np.cumsum(sizes) - sizes, sizes), np.repeat(sizes, sizes)
        for row in shuffled:
            moved = firsts + (places - firsts + np.repeat(steps.integers(sizes), sizes)) % lengths
            order = moved[np.concatenate([blocks[i] for i in rng.permutation(len(blocks))])]
            row[ordered] = classes[ordered[order]]
    return shuffled


def permutation_test(
    layers: Sequence[ArrayLike],
    labels: ArrayLike,
    shuffled: NDArray[Any],
    splits: Sequence[Split],
    measure: Measure,
) -> Permutation:
    """Score shuffled labels in the same way as the true ones.

    That is a ridge probe in every fold on the layer that suits its training part best, as by
    `ridge_probe` and `choose_inside`. A layer's training rows are factorised once for all shuffles.

    Args:
        layers: Features of the same rows, (n, d) each; one or more.
        labels: Class numbers from 0, (n,); or numbers, (n,), or 0 and 1 for each label, (n, c).
        shuffled: The same labels in other orders, (b, n, …), from `shuffled_labels`.
        splits: The folds of one repeat.
        measure: The score, over the held-out rows of all folds together.

    Raises:
        DataError: If features, labels and folds do not fit each other, or a row is held out twice.

    References:
        Ojala and Garriga, "Permutation tests for studying classifier performance", JMLR 11, 2010.
    """
    tables = [checked(features, labels, splits)[0] for features in layers]
    classes = checked_labels(labels, len(tables[0])) if tables else np.zeros(0)
    held_out = np.concatenate([valid for _, valid in splits])
    if not tables or len(np.unique(held_out)) < len(held_out):
        raise DataError("Expected one or more layers, and folds that hold each row out once.")
    labellings = np.concatenate([classes[None], shuffled])
    size = max(1, _AT_ONCE // (len(classes) * measure.num_classes))
    scores = np.concatenate(
        [
            _scores(tables, labellings[start : start + size], splits, measure)
            for start in range(0, len(labellings), size)
        ]
    )
    at_least = int((scores[1:] >= scores[0] - 1e-12).sum())
    return Permutation(float(scores[0]), scores[1:], (1 + at_least) / len(scores))


def _scores(
    tables: Sequence[NDArray[np.floating]],
    labellings: NDArray[Any],
    splits: Sequence[Split],
    measure: Measure,
) -> Floats:
    """Score of each labelling, (p,)."""
    predictions = np.zeros_like(labellings)
    for train, valid in splits:
        targets = rows_of(labellings[:, train], measure.num_classes)
        least = np.full(len(labellings), np.inf)
        for table in tables:
            ridge = Ridge(table[train])
            fits = ridge.fit(targets)
            decisions = ridge.decisions(fits, table[valid], balanced=measure.balanced)
            predicted = measure.answers(np.moveaxis(decisions, 2, 0))
            better = fits.errors < least
            least = np.where(better, fits.errors, least)
            predictions[np.ix_(better, valid)] = predicted[better]
    rows = np.concatenate([valid for _, valid in splits])
    return np.array(
        [
            measure.score(labels[rows], predicted[rows])
            for labels, predicted in zip(labellings, predictions, strict=True)
        ]
    )
