"""Linear heads for a few rows a class, solved for many draws of rows at once. numpy only.

Each is one linear layer on the features as they come, so that it can be published in a model's own head.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401

Floats = NDArray[np.float64]

_IMAGINED = 10  # rows by which a feature's spread is drawn to that of all: of few rows it says little
_PENALTIES = 10.0 ** np.arange(-4, 4.01, 0.5)  # of ridge, in units of the mean eigenvalue
_MOST_STEPS, _NEAR_ENOUGH = 400, 1e-4  # of the logistic head, and a probability's distance from the optimum
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Heads:
    """Linear heads, one a draw.

    Attributes:
        weight: (b, c, d).
        bias: (b, c).
    """

    weight: Floats
    bias: Floats

    def scores(self, features: NDArray[np.floating]) -> Floats:
        """Score of each class in rows that all draws share, (n, d), or in rows of each, (b, n, d)."""
        return np.asarray(features @ self.weight.transpose(0, 2, 1) + self.bias[:, None])


@dataclass(frozen=True, eq=False)
class _Draws:
    """Training rows of some draws, around the mean of their class means.

    Attributes:
        targets: 1 where a row has a class, (b, m, c).
        middle: (b, d).
        spread: By which features are divided, (b, 1, d).
        rows: Less the middle and divided by the spread, (b, m, d).
    """

    targets: Floats
    middle: Floats
    spread: Floats
    rows: Floats

    @classmethod
    def of(cls, features: NDArray[np.floating], labels: NDArray[np.int64], num_classes: int) -> "_Draws":
        targets = np.eye(num_classes)[labels]
        rows = np.asarray(features, np.float64)
        there = (targets.sum(axis=1) > 0)[..., None]
        middle = _class_means(targets, rows).sum(axis=1) / there.sum(axis=1)
        variance = rows.var(axis=1, keepdims=True)
        own, shared = rows.shape[1] * variance, _IMAGINED * variance.mean(axis=2, keepdims=True)
        spread = np.sqrt(np.maximum((own + shared) / (rows.shape[1] + _IMAGINED), _TINY))
        return cls(targets, middle, spread, (rows - middle[:, None]) / spread)

    def heads(self, weight: Floats, bias: Floats | float = 0.0) -> Heads:
        """Heads for features as they come, from those for rows around the middle."""
        weight = weight / self.spread
        return Heads(weight, bias - np.einsum("bcd,bd->bc", weight, self.middle))


def centroid(features: NDArray[np.floating], labels: NDArray[np.int64], num_classes: int) -> Heads:
    """The class whose mean row points most nearly where a row does, seen from the middle of all classes.

    A row's own length changes no order of the classes, so that what is compared is the cosine.

    Args:
        features: Training rows of each draw, (b, m, d).
        labels: Their classes, (b, m).
        num_classes: Number of classes, c.

    References:
        Snell, Swersky and Zemel, "Prototypical networks for few-shot learning", NeurIPS 2017,
        https://arxiv.org/abs/1703.05175; centring: Wang et al., "SimpleShot",
        https://arxiv.org/abs/1911.04623.
    """
    draws = _Draws.of(features, labels, num_classes)
    return draws.heads(_unit(_class_means(draws.targets, _unit(draws.rows))))


def logistic(
    features: NDArray[np.floating], labels: NDArray[np.int64], num_classes: int, inverse: float = 10.0
) -> Heads:
    """Logistic regression on rows of unit length around the middle of all classes.

    Without an intercept, so that a row's own length changes no order of the classes here either. Solved in
    the span of the training rows, by accelerated gradient steps.

    Args:
        features: Training rows of each draw, (b, m, d).
        labels: Their classes, (b, m).
        num_classes: Number of classes, c.
        inverse: Of the penalty, as scikit-learn's `C`. From 1 to 100 it hardly matters with very few rows;
            10 lost least on pictures and texts, from 1 to 32 rows a class.

    References:
        Nesterov, Introductory lectures on convex optimization, 2004, section 2.2.
    """
    draws = _Draws.of(features, labels, num_classes)
    rows, targets = _unit(draws.rows), draws.targets
    gram, penalty = rows @ rows.transpose(0, 2, 1), 1 / inverse
    # The weights are rows.T @ duals; curvature of the summed loss is at most half the largest eigenvalue.
    largest = 0.5 * np.linalg.norm(gram, axis=(1, 2), ord=2)[:, None, None] + penalty
    ratio = np.sqrt(penalty / largest)
    ahead, duals = np.zeros_like(targets), np.zeros_like(targets)
    for _ in range(_MOST_STEPS):
        away = _softmax(gram @ ahead) - targets + penalty * ahead
        moved = ahead - away / largest
        ahead, duals = moved + (1 - ratio) / (1 + ratio) * (moved - duals), moved
        if np.abs(away).max() < _NEAR_ENOUGH:
            break
    length = np.linalg.norm(draws.rows, axis=2).mean(axis=1)[:, None, None]
    return draws.heads(duals.transpose(0, 2, 1) @ rows / np.maximum(length, _TINY))


def ridge(features: NDArray[np.floating], labels: NDArray[np.int64], num_classes: int) -> Heads:
    """Ridge regression on class indicators, each draw with the penalty of least generalised error.

    Args:
        features: Training rows of each draw, (b, m, d).
        labels: Their classes, (b, m).
        num_classes: Number of classes, c.

    References:
        Golub, Heath and Wahba, Technometrics 21, 1979.
    """
    draws = _Draws.of(features, labels, num_classes)
    shares = draws.targets.mean(axis=1)
    wanted = draws.targets - shares[:, None]
    rows = draws.rows - draws.rows.mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(rows @ rows.transpose(0, 2, 1))
    values = np.maximum(values, 0)
    onto, unit = vectors.transpose(0, 2, 1) @ wanted, values.mean(axis=1, keepdims=True)
    penalties = np.maximum(unit, _TINY) * _PENALTIES  # (b, p)
    left = penalties[:, :, None] / (values[:, None] + penalties[:, :, None])  # (b, p, m)
    errors = np.einsum("bpm,bm->bp", left**2, (onto**2).sum(axis=2)) / (left.sum(axis=2) - 1 + _TINY) ** 2
    best = np.take_along_axis(penalties, errors.argmin(axis=1)[:, None], axis=1)[..., None]
    weight = (vectors @ (onto / (values[..., None] + best))).transpose(0, 2, 1) @ rows
    return draws.heads(weight, shares - np.einsum("bcd,bd->bc", weight, draws.rows.mean(axis=1)))


Solver = Callable[[NDArray[np.floating], NDArray[np.int64], int], Heads]
SOLVERS: Mapping[str, Solver] = {"centroid": centroid, "logistic": logistic, "ridge": ridge}


def _class_means(targets: Floats, rows: Floats) -> Floats:
    """Mean row of each class, (b, c, d); zeros for one without rows."""
    counts = np.maximum(targets.sum(axis=1), 1)[..., None]
    return np.asarray(targets.transpose(0, 2, 1) @ rows / counts)


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), _TINY))


def _softmax(scores: Floats) -> Floats:
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))
