"""The nearest neighbours' vote."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.scores.transferability.probe import (
    Floats,
    Ints,
    Probe,
    Split,
    checked,
    is_classes,
    targets_of,
)

_AT_ONCE = 16_000_000  # similarities computed together: 64 MB


def knn_probe(
    features: ArrayLike,
    labels: ArrayLike,
    splits: Sequence[Split],
    *,
    num_neighbours: int = 20,
    balanced: bool = False,
) -> Probe:
    """Let the most similar training rows vote, by cosine; of equal votes, the more similar win.

    Nothing is fitted, so it shows whether rows of a class already lie together.

    Args:
        features: (n, d).
        labels: Class numbers from 0, (n,); or numbers, (n,), or 0 and 1 for each label, (n, c).
        splits: The folds, (train, valid) each.
        num_neighbours: How many vote; all training rows where there are fewer.
        balanced: Whether a vote counts for as much more as its class is rarer.

    Raises:
        DataError: If features, labels and folds do not fit each other.
    """
    table, found = checked(features, labels, splits)
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    unit = np.divide(table, lengths, out=np.zeros(table.shape, np.float32), where=lengths > 0)
    targets = targets_of(found)
    decisions = []
    for train, valid in splits:
        votes = _votes(unit[valid], unit[train], targets[train], num_neighbours)
        if not is_classes(found):  # their mean
            votes = votes / _votes(unit[valid], unit[train], np.ones((len(train), 1)), num_neighbours)
        decisions.append(votes / np.maximum(targets[train].mean(axis=0), 1e-12) if balanced else votes)
    return Probe(tuple(splits), tuple(decisions))


def _votes(asking: NDArray[np.float32], known: NDArray[np.float32], targets: Floats, k: int) -> Floats:
    k = min(k, len(known))
    size = max(1, _AT_ONCE // len(known))
    votes = []
    for start in range(0, len(asking), size):
        similarity = asking[start : start + size] @ known.T
        nearest: Ints = np.argpartition(similarity, -k, axis=1)[:, -k:]
        weights = 1 + 1e-3 * np.take_along_axis(similarity, nearest, axis=1)  # of k = 20 never a whole vote
        votes.append((weights[:, :, None] * targets[nearest]).sum(axis=1))
    return np.concatenate(votes)
