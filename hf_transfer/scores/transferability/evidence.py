"""LogME: how probable the labels are when a linear model of the features is drawn at random."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError
from hf_transfer.scores.transferability.probe import checked_features

Floats = NDArray[np.float64]

_GRID, _STEPS = 33, 40  # agrees with a grid four times as fine to 1e-6
_GOLDEN = (np.sqrt(5) - 1) / 2
_AT_ONCE = 4_000_000  # numbers in an array of grid x rank x targets


class LogME(NamedTuple):
    """Log evidence for each row, averaged over the targets.

    Attributes:
        score: Mean over the targets. It depends on how many classes there are and on their shares, so
            that it compares features of the same labels only.
        gain: By how much it exceeds that of features that say nothing; 0 or more.
        per_class: Of each target, (k,).
        penalties: The ratio of prior to noise precision that maximises it, (k,); infinite where the
            features say nothing.
        rank: Rank of the features.
    """

    score: float
    gain: float
    per_class: Floats
    penalties: Floats
    rank: int


def log_me(features: ArrayLike, labels: ArrayLike) -> LogME:
    """Estimate, without folds, how well a linear model of the features predicts the labels.

    The evidence of a Gaussian linear model, maximised over its two precisions. One of them is
    maximised in closed form, so that only the ratio is searched for, on a grid and then by golden
    section: exact also where there are fewer rows than features, and it cannot diverge. The
    published fixed point gives other, wrong numbers there, so do not compare the two.

    Args:
        features: (n, d). They are not centred.
        labels: Class numbers or names (n,), or real-valued targets (n,) or (n, k).

    Raises:
        DataError: If features and labels do not fit each other, are not finite, or a target is all 0.

    References:
        You et al., "LogME: Practical assessment of pre-trained models for transfer learning", ICML
        2021, https://arxiv.org/abs/2102.11005.

    Example:
        >>> found = log_me([[1], [1], [1], [1], [-1], [-1], [-1], [-1]], [0, 0, 0, 0, 1, 1, 1, 1])
        >>> round(found.score, 7), round(found.gain, 7)
        (-0.9141764, 0.1581885)
    """
    table = checked_features(features).astype(np.float64)
    targets = _targets(labels, len(table))
    left, singular, _ = np.linalg.svd(table, full_matrices=False)
    rank = int((singular > singular[0] * max(table.shape) * np.finfo(np.float64).eps).sum())
    squared = (left[:, :rank].T @ targets) ** 2
    total = (targets**2).sum(axis=0)
    nothing = -0.5 * (1 + np.log(2 * np.pi * total / len(table)))
    if rank == 0:
        return LogME(float(nothing.mean()), 0.0, nothing, np.full(len(nothing), np.inf), 0)
    best, penalties = _maximised(singular[:rank] ** 2, squared, total, len(table))
    penalties = np.where(best > nothing, penalties, np.inf)
    best = np.maximum(best, nothing)
    return LogME(float(best.mean()), float((best - nothing).mean()), best, penalties, rank)


def _targets(labels: ArrayLike, num_rows: int) -> Floats:
    values: Any = np.asarray(labels)
    if not values.ndim or len(values) != num_rows or values.ndim > 2:
        raise DataError(f"Expected labels for {num_rows} rows, got shape {values.shape}.")
    if values.ndim == 1 and values.dtype.kind != "f":
        return np.asarray(values[:, None] == np.unique(values), np.float64)
    targets: Floats = values.astype(np.float64).reshape(num_rows, -1)
    if not np.isfinite(targets).all() or not targets.any(axis=0).all():
        raise DataError("Targets must be finite and not 0 in all rows. Leave such columns out.")
    return targets


def _maximised(eigenvalues: Floats, squared: Floats, total: Floats, n: int) -> tuple[Floats, Floats]:
    """Highest evidence of each target, and where it is, (k,) each; in blocks of targets."""
    size = max(1, _AT_ONCE // (_GRID * len(eigenvalues)))
    starts = range(0, squared.shape[1], size)
    blocks = [_search(eigenvalues, squared[:, i : i + size], total[i : i + size], n) for i in starts]
    best, at = (np.concatenate(arrays) for arrays in zip(*blocks, strict=True))
    return best, at


def _search(eigenvalues: Floats, squared: Floats, total: Floats, n: int) -> tuple[Floats, Floats]:
    # What no weights can reach; kept above 0, where rounding alone would make a perfect fit.
    rest = np.maximum(total - squared.sum(axis=0), np.finfo(np.float64).eps * total)

    def evidence(log_ratio: Floats) -> Floats:
        """Log evidence for each row, (..., k), where the log ratio is (..., k)."""
        ratio = np.exp(log_ratio)[..., None, :]
        residual = rest + (squared * (ratio / (ratio + eigenvalues[:, None]))).sum(axis=-2)
        volume = np.log1p(eigenvalues[:, None] / ratio).sum(axis=-2)
        return np.asarray(-0.5 * (1 + np.log(2 * np.pi * residual / n) + volume / n))

    low, high = np.log(eigenvalues.min()) - 12, np.log(eigenvalues.max()) + 25
    grid = np.linspace(low, high, _GRID)
    at = evidence(np.broadcast_to(grid[:, None], (_GRID, squared.shape[1]))).argmax(axis=0)
    a, b = grid[np.maximum(at - 1, 0)], grid[np.minimum(at + 1, _GRID - 1)]
    for _ in range(_STEPS):
        c, d = b - _GOLDEN * (b - a), a + _GOLDEN * (b - a)
        left = evidence(c) > evidence(d)
        a, b = np.where(left, a, c), np.where(left, d, b)
    place = (a + b) / 2
    return evidence(place), np.exp(place)
