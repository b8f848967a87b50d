"""Ridge regression on class indicators, with the penalty chosen inside the training part."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from hf_transfer import _guard  # noqa: F401
from hf_transfer.scores.transferability.probe import Floats, Ints, Probe, Split, checked, targets_of

# Penalties, in units of the mean eigenvalue of the training rows' Gram matrix.
PENALTIES = 10.0 ** np.arange(-4, 4.01, 0.5)


def ridge_probe(
    features: ArrayLike, labels: ArrayLike, splits: Sequence[Split], *, balanced: bool = False
) -> Probe:
    """Fit a linear model on each fold's training part, and predict the held-out part.

    Features are standardised by the training part's mean and spread, and the penalty is the one
    with the least generalised cross-validation error on the training part: nothing is taken from
    held-out rows. That error is the probe's criterion.

    Args:
        features: (n, d).
        labels: Class numbers from 0, (n,); or numbers, (n,), or 0 and 1 for each label, (n, c).
        splits: The folds, (train, valid) each.
        balanced: Whether to divide what speaks for a class by its share of the training part, as suits
            a score that counts all classes alike.

    Raises:
        DataError: If features, labels and folds do not fit each other.

    References:
        Golub, Heath and Wahba, "Generalized cross-validation as a method for choosing a good ridge
        parameter", Technometrics 21, 1979.
    """
    table, found = checked(features, labels, splits)
    targets = targets_of(found)
    fitted = []
    for train, valid in splits:
        ridge = Ridge(table[train])
        fits = ridge.fit(targets[train][:, :, None])
        fitted.append((fits, ridge.decisions(fits, table[valid], balanced=balanced)[:, :, 0]))
    return Probe(
        splits=tuple(splits),
        decisions=tuple(decisions for _, decisions in fitted),
        criteria=tuple(float(fits.errors[0]) for fits, _ in fitted),
        settings=tuple(float(fits.penalties[0]) for fits, _ in fitted),
    )


@dataclass(frozen=True, eq=False)
class Fits:
    """Linear models of several labellings of the same rows.

    Attributes:
        weights: In the coordinates of `Ridge`, (r, c, p) for p labellings.
        shares: Share of each class in the training part, (c, p).
        errors: Error of each labelling on rows that were left out of the training part, (p,).
        penalties: Chosen for each labelling, (p,), in units of the mean eigenvalue.
    """

    weights: Floats
    shares: Floats
    errors: Floats
    penalties: Floats


class Ridge:
    """One factorisation of the training rows, which serves many labellings.

    Args:
        features: Of the training rows, (n, d).
    """

    def __init__(self, features: NDArray[np.floating]) -> None:
        self.mean = features.mean(axis=0, dtype=np.float64)
        spread = features.std(axis=0, dtype=np.float64)
        tiny = 1e-6 * max(float(spread.max()), np.finfo(np.float64).tiny)
        self.spread = np.where(spread > tiny, spread, np.inf)  # what does not vary says nothing
        self.standard = self._standardised(features)
        n, d = self.standard.shape
        small = self.standard @ self.standard.T if n <= d else self.standard.T @ self.standard
        values, vectors = linalg.eigh(small, overwrite_a=True, check_finite=False)
        kept = values > values[-1] * max(n, d) * np.finfo(np.float64).eps if values[-1] > 0 else values > 0
        self.eigenvalues: Floats = values[kept]
        self._vectors, self._of_rows = vectors[:, kept], n <= d

    def _standardised(self, features: NDArray[np.floating]) -> Floats:
        return np.asarray((features - self.mean) / self.spread, np.float64)

    @cached_property
    def axes(self) -> Floats:
        """The right singular vectors, (d, r)."""
        if not self._of_rows:
            return self._vectors
        return self.standard.T @ (self._vectors / np.sqrt(self.eigenvalues))

    def fit(self, targets: Floats, parts: Ints | None = None) -> Fits:
        """Fit each labelling with its own best penalty.

        Args:
            targets: 1 where a row has the class and else 0, or numbers, (n, c, p) for p labellings.
            parts: Number of the fold that each row is in, (n,). The penalty is then the one with the least
                error where each fold is left out in turn. Without folds, or with a single one, it is that of
                least generalised cross-validation error, which takes rows for independent: of rows that
                belong together it sees no harm in learning one from another.
        """
        n, c, p = targets.shape
        shares = targets.mean(axis=0)
        flat = (targets - shares).reshape(n, c * p)
        onto = self._onto(flat).reshape(-1, c, p)
        unit = self.eigenvalues.mean() if len(self.eigenvalues) else 1.0
        if parts is None or len(np.unique(parts)) < 2:
            energy = (onto**2).sum(axis=1)  # (r, p)
            rest = np.maximum((flat**2).sum(axis=0).reshape(c, p).sum(axis=0) - energy.sum(axis=0), 0)
            errors = np.array([self._error(unit * one, energy, rest, n) for one in PENALTIES])
        else:
            errors = self._left_out(flat, unit * PENALTIES, parts).reshape(-1, c, p).sum(axis=1) / n
        best = errors.argmin(axis=0)
        penalties = PENALTIES[best]
        shrunk = np.sqrt(self.eigenvalues)[:, None] / (self.eigenvalues[:, None] + unit * penalties)
        return Fits(onto * shrunk[:, None, :], shares, errors.min(axis=0), penalties)

    def _onto(self, targets: Floats) -> Floats:
        """Targets in left singular coordinates, (r, m)."""
        if self._of_rows:
            return self._vectors.T @ targets
        return (self._vectors.T @ (self.standard.T @ targets)) / np.sqrt(self.eigenvalues)[:, None]

    def _error(self, penalty: float, energy: Floats, rest: Floats, n: int) -> Floats:
        """Generalised cross-validation error of a penalty, (p,), with the intercept as a parameter."""
        left = penalty / (self.eigenvalues + penalty)
        residual = rest + (left[:, None] ** 2 * energy).sum(axis=0)
        free = n - 1 - (1 - left).sum()
        return np.asarray(n * residual / max(float(free), 1e-9) ** 2)

    def _left_out(self, targets: Floats, penalties: Floats, parts: Ints) -> Floats:
        """Squared error of each column of centred targets where each part is left out, (penalties, m).

        No model is fitted for it: with H the matrix that makes predictions of targets, rows that are left
        out are off by (I - H)^-1 of what the whole fit is off by, as one row is (Allen's PRESS).
        """
        onto, n = self._onto(targets), len(targets)
        errors = np.zeros((len(penalties), targets.shape[1]))
        for part in np.unique(parts):
            of_part = parts == part
            along = self._left_vectors[of_part]
            for i, penalty in enumerate(penalties):
                kept = self.eigenvalues / (self.eigenvalues + penalty)
                off = targets[of_part] - along @ (kept[:, None] * onto)
                root = np.column_stack([along * np.sqrt(kept), np.full(len(along), n**-0.5)])
                errors[i] += (_without(root, off) ** 2).sum(axis=0)
        return errors

    @cached_property
    def _left_vectors(self) -> Floats:
        """The left singular vectors, (n, r)."""
        if self._of_rows:
            return self._vectors
        return np.asarray(self.standard @ self._vectors / np.sqrt(self.eigenvalues))

    def decisions(self, fits: Fits, features: NDArray[np.floating], *, balanced: bool) -> Floats:
        """Decision value of each class in some rows, (n, c, p)."""
        along = self._standardised(features) @ self.axes
        r, c, p = fits.weights.shape
        values = (along @ fits.weights.reshape(r, c * p)).reshape(-1, c, p) + fits.shares
        return values / np.maximum(fits.shares, 1e-12) if balanced else np.asarray(values)


def _without(root: Floats, off: Floats) -> Floats:
    """(I - R R')^-1 of some columns, by the smaller of the two systems of equations that give it."""
    m, r = root.shape
    if m <= r:
        return np.asarray(np.linalg.solve(np.eye(m) - root @ root.T, off), np.float64)
    return np.asarray(off + root @ np.linalg.solve(np.eye(r) - root.T @ root, root.T @ off), np.float64)


def rows_of(labellings: NDArray[Any], num_classes: int) -> Floats:
    """What linear models are fitted to, (n, c, p), of p labellings (p, n, …)."""
    return np.stack([targets_of(labels, num_classes) for labels in labellings], axis=2)
