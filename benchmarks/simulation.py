"""Problems whose true scores are known, learners that are fitted at once, and the kit's folds over them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr

from hf_transfer.folds import FoldColumns, derive_seed, plan_folds

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Learner = Callable[[Floats, Ints], Callable[[Floats], Ints]]

SIGNAL = 2.0  # length of the weights that labels are drawn with: the best accuracy is 0.77
PENALTY = 10.0


@dataclass(frozen=True)
class Line:
    """A linear classifier: class 1 where `weights` · x + `offset` is above 0."""

    weights: Floats
    offset: float

    def __call__(self, features: Floats) -> Ints:
        """Classify rows (n, p)."""
        return (features @ self.weights + self.offset > 0).astype(np.int64)


def ridge(features: Floats, labels: Ints) -> Line:
    """Fit -1 and 1 by least squares with a penalty on the weights, not on the offset."""
    middle, target = features.mean(axis=0), 2.0 * labels - 1
    x = features - middle
    weights = np.linalg.solve(x.T @ x + PENALTY * np.eye(x.shape[1]), x.T @ (target - target.mean()))
    return Line(weights, float(target.mean() - middle @ weights))


def nearest(features: Floats, labels: Ints) -> Callable[[Floats], Ints]:
    """Answer with the label of the nearest row."""

    def classify(others: Floats) -> Ints:
        squares = (features**2).sum(axis=1) - 2 * others @ features.T
        return labels[squares.argmin(axis=1)]

    return classify


def draw_linear(
    num_rows: int, num_features: int, rng: np.random.Generator, signal: float = SIGNAL
) -> tuple[Floats, Ints]:
    """Draw features from a normal distribution, and labels with a probability that the first one decides."""
    features = rng.normal(size=(num_rows, num_features))
    return features, (rng.random(num_rows) < expit(signal * features[:, 0])).astype(np.int64)


def true_accuracy(line: Line, noise: float = 0.0, signal: float = SIGNAL) -> float:
    """Accuracy on all rows that `draw_linear` could ever give, by quadrature over the first feature.

    Args:
        line: The classifier.
        noise: Standard deviation of what is added to each feature before the classifier sees it.
        signal: That the labels were drawn with.
    """
    points, shares = _quadrature()
    seen = (line.weights[1:] ** 2).sum() * (1 + noise**2) + (line.weights[0] * noise) ** 2
    positive = ndtr((line.offset + line.weights[0] * points) / np.sqrt(max(float(seen), 1e-30)))
    chance = expit(signal * points)
    return float((shares * (chance * positive + (1 - chance) * (1 - positive))).sum())


@cache
def _quadrature() -> tuple[Floats, Floats]:
    points, shares = np.polynomial.hermite_e.hermegauss(80)
    return points, shares / shares.sum()


@dataclass(frozen=True)
class Held:
    """A held-out fold: its model, its rows, and whether each was right."""

    repeat: int
    fold: int
    model: Callable[[Floats], Ints]
    rows: Ints
    right: Floats


def cross_validate(
    data: tuple[Floats, Ints],
    learner: Learner,
    columns: FoldColumns,
    *,
    num_folds: int,
    num_repeats: int,
    scheme: str,
) -> Iterator[Held]:
    """Fit and score each fold of the kit's plans, seed 0."""
    features, labels = data
    for repeat in range(num_repeats):
        seed = derive_seed(0, "repeat", repeat) if repeat else 0
        plan = plan_folds(range(len(labels)), num_folds, seed=seed, columns=columns, scheme=scheme)
        for fold in plan.scored_folds:
            train, rows = plan.train(fold), plan.valid(fold)
            model = learner(features[train], labels[train])
            yield Held(repeat, fold, model, rows, (model(features[rows]) == labels[rows]).astype(np.float64))
