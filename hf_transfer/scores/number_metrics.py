"""Metrics of numbers, of weighted rows too, as plain functions that need no network.

Undefined is None, and NaN in arrays: a fold whose labels are all equal has no R², and no correlation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError
from hf_transfer.scores.metrics import Scores
from hf_transfer.scores.statistics.counts import divide

Floats = NDArray[np.float64]

_NO_SPREAD = 1e-12  # of the largest square: what is left of equal numbers after rounding


def mean_absolute_error(references: Floats, predictions: Floats) -> Scores:
    """Compute the mean distance of a prediction from the true number."""
    return {"mae": float(np.abs(predictions - references).mean())}


def root_mean_squared_error(references: Floats, predictions: Floats) -> Scores:
    """Compute the root of the mean squared distance: large errors count more."""
    return {"rmse": float(np.sqrt(((predictions - references) ** 2).mean()))}


def r_squared(references: Floats, predictions: Floats) -> Scores:
    """Compute the share of the labels' variance that is explained; 0 for their mean, below 0 for worse.

    Example:
        >>> r_squared(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0]))
        {'r_squared': 0.0}
    """
    return {"r_squared": _once(Numbers(references, predictions).r_squared, len(references))}


def pearson(references: Floats, predictions: Floats) -> Scores:
    """Compute Pearson's correlation."""
    return {"pearsonr": _once(Numbers(references, predictions).pearson, len(references))}


def spearman(references: Floats, predictions: Floats) -> Scores:
    """Compute Spearman's correlation: Pearson's, of ranks; equal numbers share theirs."""
    return {"spearmanr": _once(Numbers(references, predictions).spearman, len(references))}


@dataclass(frozen=True, eq=False)
class Numbers:
    """True and predicted numbers of some rows, scored with each row counting as often as its weight says.

    Each score takes weights (b, n) and gives (b,); undefined is NaN.
    """

    references: Floats
    predictions: Floats

    def r_squared(self, weights: Floats) -> Floats:
        """The share of the weighted labels' variance that is explained."""
        errors = weights @ (self.predictions - self.references) ** 2
        return 1 - divide(errors, _spread(_centred(self.references), weights))

    def pearson(self, weights: Floats) -> Floats:
        """Pearson's correlation."""
        return _correlation(_centred(self.references), _centred(self.predictions), weights)

    def spearman(self, weights: Floats) -> Floats:
        """Spearman's correlation."""
        of_references, of_predictions = (ranks.of(weights) for ranks in self._ranks)
        return _correlation(of_references, of_predictions, weights)

    @cached_property
    def _ranks(self) -> "tuple[_Ranks, _Ranks]":
        return _Ranks.by(self.references), _Ranks.by(self.predictions)


@dataclass(frozen=True, eq=False)
class _Ranks:
    """Places of rows by a number: `order` sorts them, equal ones are `groups` that begin at `starts`."""

    order: NDArray[np.intp]
    starts: NDArray[np.intp]
    groups: NDArray[np.intp]

    @classmethod
    def by(cls, values: Floats) -> "_Ranks":
        order = np.argsort(values, kind="stable")
        _, starts, groups = np.unique(values[order], return_index=True, return_inverse=True)
        of_row = np.empty_like(groups)
        of_row[order] = groups
        return cls(order, starts, of_row)

    def of(self, weights: Floats) -> Floats:
        """Mean rank of each row, (b, n), where a row stands as often as its weight says; centred."""
        drawn = np.add.reduceat(weights[:, self.order], self.starts, axis=1)
        ranks = np.cumsum(drawn, axis=1) - drawn / 2
        middle = weights.sum(axis=1, keepdims=True) / 2
        centred: Floats = (ranks - middle)[:, self.groups]
        return centred


def _once(score: Callable[[Floats], Floats], num_rows: int) -> float | None:
    """A score of rows that count once each."""
    value = float(score(np.ones((1, num_rows)))[0])
    return None if np.isnan(value) else value


def _centred(values: Floats) -> Floats:
    centred: Floats = values - values.mean()
    return centred


def _spread(values: Floats, weights: Floats) -> Floats:
    """Weighted sum of squares around the weighted mean, (b,); 0 where only rounding is left of it."""
    squares = _sums(values**2, weights)
    spread = squares - divide(_sums(values, weights) ** 2, weights.sum(axis=1))
    return np.where(spread > _NO_SPREAD * squares, spread, 0.0)


def _correlation(first: Floats, second: Floats, weights: Floats) -> Floats:
    """Weighted correlation of two columns, (n,) or (b, n) each."""
    product = _sums(first * second, weights)
    product = product - divide(_sums(first, weights) * _sums(second, weights), weights.sum(axis=1))
    length = np.sqrt(_spread(first, weights) * _spread(second, weights))
    return np.clip(divide(product, length), -1.0, 1.0)


def _sums(values: Floats, weights: Floats) -> Floats:
    """Weighted sums of (n,) or (b, n), (b,)."""
    found: Floats = weights @ values if values.ndim == 1 else np.einsum("bn,bn->b", weights, values)
    return found


def finite_numbers(values: object, name: str) -> Floats:
    """Check that `values` is a flat list of finite numbers, and give it as an array.

    Raises:
        DataError: If it is anything else.
    """
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iuf"):
        raise DataError(
            f"{name} must be numbers, one a row, got {array.dtype} of shape {array.shape}. Pass a flat list."
        )
    if not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array))[0])
        raise DataError(f"{name} holds {array[row]} in row {row}. Numbers must be finite to be scored.")
    return array.astype(np.float64)
