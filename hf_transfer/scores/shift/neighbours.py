"""Rows of a second data set that are far from all rows of the first, and a view of both from above."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Features = NDArray[np.floating]

FAR = 0.95  # of the rows of the first data set are nearer to another of its rows
_ROWS_AT_ONCE = 512


@dataclass(frozen=True, eq=False)
class Nearest:
    """For each row of the second data set the nearest row of the first.

    Attributes:
        distances: (m,), in units of the first data set's spread.
        rows: Positions in the first data set, (m,).
        far: The distance that 95 % of the first data set's rows have at most from another of its rows.
    """

    distances: Floats
    rows: Ints
    far: float

    @property
    def share_far(self) -> float:
        """Share of the second data set's rows that are farther than that from every row of the first."""
        return float((self.distances > self.far).mean())

    def farthest(self, number: int) -> Ints:
        """Positions of the rows that are farthest, the farthest first."""
        return np.argsort(-self.distances, kind="stable")[:number]


def nearest_rows(first: Features, second: Features) -> Nearest:
    """Find the nearest row of a first data set for each row of a second.

    Features are measured in standard deviations of the first, and distances are root mean squares over them.

    Args:
        first: (n, d), of two rows or more.
        second: (m, d).
    """
    known, new = standardised(first, first), standardised(second, first)
    distances, rows = _nearest(known, new, alone=False)
    own, _ = _nearest(known, known, alone=True)
    return Nearest(distances, rows, float(np.quantile(own, FAR)))


def standardised(features: Features, by: Features) -> Floats:
    """Features in standard deviations of other rows, from their mean; those that vary there."""
    reference = np.asarray(by, np.float64)
    spread = reference.std(axis=0)
    varying = spread > 1e-9 * max(float(spread.max(initial=0)), np.finfo(np.float64).tiny)
    table = np.asarray(features, np.float64)[:, varying] - reference[:, varying].mean(axis=0)
    return np.asarray(table / spread[varying])


def seen_from(first: Features, second: Features) -> tuple[Floats, Floats, tuple[float, float]]:
    """Both data sets on the two axes along which the first one varies most.

    Returns:
        The rows of each, (n, 2) and (m, 2), and the share of the first's variance along each axis.
    """
    known, new = standardised(first, first), standardised(second, first)
    _, singular, axes = np.linalg.svd(known, full_matrices=False)
    axes = axes[:2] * np.where(axes[:2].sum(axis=1, keepdims=True) < 0, -1, 1)  # else the sign is by chance
    if len(axes) < 2:
        axes = np.vstack([axes, np.zeros((2 - len(axes), known.shape[1]))])
    shares = np.append(singular**2, [0.0, 0.0])[:2] / max(float((singular**2).sum()), 1e-300)
    return known @ axes.T, new @ axes.T, (float(shares[0]), float(shares[1]))


def _nearest(known: Floats, new: Floats, *, alone: bool) -> tuple[Floats, Ints]:
    """Distance to the nearest known row and its position, with `alone` another than the row itself."""
    squares, width = (known**2).sum(axis=1), max(1, known.shape[1])
    distances, rows = np.empty(len(new)), np.empty(len(new), np.int64)
    for start in range(0, len(new), _ROWS_AT_ONCE):
        block = new[start : start + _ROWS_AT_ONCE]
        found = (block**2).sum(axis=1)[:, None] + squares - 2 * block @ known.T
        if alone:
            found[np.arange(len(block)), start + np.arange(len(block))] = np.inf
        places = slice(start, start + len(block))
        rows[places] = found.argmin(axis=1)
        distances[places] = np.sqrt(np.maximum(found.min(axis=1), 0) / width)
    return distances, rows
