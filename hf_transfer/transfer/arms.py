"""Adapt a classifier to a domain without labels: each arm gives a linear head on features as they are."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from hf_transfer import _guard  # noqa: F401
from hf_transfer.scores.regression import Classifier, LinearProblem, Split

Features = NDArray[np.floating]
Matrix = NDArray[np.float64]
Labels = NDArray[np.int64]

# Penalties to choose from, against the sum of the losses and inverted, as scikit-learn's C.
_INVERSES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
_PARTS = 5  # of the source, one of which is left out at a time to choose the penalty
_SHRINKAGE = 0.5  # as published: the identity is added to the covariance of standardised features
_ROUNDS = 2
_STILL = 1e-6  # of the largest deviation: a feature that does not vary


@dataclass(frozen=True, eq=False)
class Domains:
    """A labelled source and a target whose labels are not known.

    Attributes:
        source: Features of its rows, (n, d).
        labels: Their classes, (n,), from 0.
        target: Features of its rows, (m, d).
        num_classes: Number of classes, c.
    """

    source: Features
    labels: Labels
    target: Features
    num_classes: int

    @cached_property
    def strength(self) -> float:
        """The penalty for a head of the source, chosen by the source alone."""
        return best_strength(self.problem(self.source))

    @cached_property
    def head(self) -> Classifier:
        """The head of the source alone."""
        return self.solved(self.source)

    def problem(self, source: Features) -> LinearProblem:
        """What is solved for features that stand for the source's."""
        return LinearProblem(source, self.labels, self.num_classes)

    def solved(self, source: Features) -> Classifier:
        """The head for features that stand for the source's, with the source's own penalty."""
        return self.problem(source).solve([self.strength])[self.strength]

    @cached_property
    def moments(self) -> tuple[tuple[Matrix, Matrix], tuple[Matrix, Matrix]]:
        """Mean and deviation of each feature in the source and in the target."""
        own, other = _moments(self.source), _moments(self.target)
        still = (own[1] <= _STILL * own[1].max()) | (other[1] <= _STILL * other[1].max())
        return (own[0], np.where(still, 1.0, own[1])), (other[0], np.where(still, 1.0, other[1]))


def best_strength(problem: LinearProblem) -> float:
    """The penalty with the lowest loss on parts of the items that are left out in turn."""
    strengths = [1 / (inverse * len(problem.labels)) for inverse in _INVERSES]
    return problem.choose(strengths, parts_of(problem.labels))


def parts_of(labels: Labels, num_parts: int = _PARTS) -> list[Split]:
    """Split items into parts with all classes alike: the others to learn from, and one to choose by."""
    turn = np.empty(len(labels), np.int64)
    turn[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % num_parts
    return [(np.flatnonzero(turn != one), np.flatnonzero(turn == one)) for one in range(num_parts)]


def z_scored(domains: Domains) -> Classifier:
    """Standardise each domain by its own mean and deviation: AdaBN, for features.

    The source's head, to which target rows are shown in the source's units. The change of units is in the
    weights, so that the head takes target features as they are.

    References:
        Li et al., "Adaptive batch normalization for practical domain adaptation", Pattern Recognition 80,
        2018.
    """
    (own_mean, own_spread), (mean, spread) = domains.moments
    ratio = own_spread / spread
    return moved(domains.head, ratio, own_mean - mean * ratio)


def moved(head: Classifier, scale: Matrix, shift: Matrix) -> Classifier:
    """A head that answers for x as the given one does for scale * x + shift."""
    return Classifier(head.weight * scale, head.bias + head.weight @ shift)


def coral(domains: Domains, shrinkage: float = _SHRINKAGE) -> Classifier:
    """Give the source the target's mean and covariance, and solve the head on it.

    Args:
        domains: Source and target.
        shrinkage: How far covariances of standardised features are drawn to their diagonal: a few hundred
            rows say little of the many correlations.

    References:
        Sun, Feng and Saenko, "Return of frustratingly easy domain adaptation", AAAI 2016.
    """
    return domains.solved(recoloured(domains, shrinkage))


def recoloured(domains: Domains, shrinkage: float = _SHRINKAGE) -> Matrix:
    """Features of the source with the target's mean and covariance, (n, d)."""
    (own_mean, own_spread), (mean, spread) = domains.moments
    own, other = (domains.source - own_mean) / own_spread, (domains.target - mean) / spread
    white = own @ _power(_covariance(own, shrinkage), -0.5)
    return np.asarray(white @ _power(_covariance(other, shrinkage), 0.5) * spread + mean)


def prototypes(domains: Domains, rounds: int = _ROUNDS) -> Classifier:
    """Classify by the nearest of the target's own class means, found by the adapted head's guesses.

    The pseudo-labelling of SHOT: means weighted by probabilities, then by the nearest mean, by cosine. Both
    domains are standardised by themselves first. The scale of the answers, which cosines don't have, is such
    that the head is on average as sure of target rows as the head of the source.

    References:
        Liang, Hu and Feng, "Do we really need to access the source data? Source hypothesis transfer for
        unsupervised domain adaptation", ICML 2020.
    """
    _, (mean, spread) = domains.moments
    rows = (domains.target - mean) / spread
    units = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    shares = softmax(z_scored(domains).scores(domains.target), axis=1)
    for _ in range(rounds):
        means = shares.T @ units
        lengths = np.linalg.norm(means, axis=1, keepdims=True)
        directions = np.divide(means, lengths, out=np.zeros_like(means), where=lengths > 0)
        shares = np.eye(domains.num_classes)[(units @ directions.T).argmax(axis=1)]
    plain = moved(Classifier(directions, np.zeros(domains.num_classes)), 1 / spread, -mean / spread)
    return as_sure(plain, domains.head, domains.target)


def as_sure(head: Classifier, other: Classifier, features: Features) -> Classifier:
    """Scale a head so that its largest probability is on average that of another head."""
    wanted, scores = _sureness(other.scores(features)), head.scores(features)
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _sureness(np.exp(middle) * scores) < wanted else (low, middle)
    return Classifier(np.exp(low) * head.weight, np.exp(low) * head.bias)


def _sureness(scores: Matrix) -> float:
    return float(softmax(scores, axis=1).max(axis=1).mean())


def _moments(features: Features) -> tuple[Matrix, Matrix]:
    return features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)


def _covariance(standard: Matrix, shrinkage: float) -> Matrix:
    own = standard.T @ standard / len(standard)
    return np.asarray((1 - shrinkage) * own + shrinkage * np.diag(np.diag(own)))


def _power(matrix: Matrix, power: float) -> Matrix:
    """A power of a symmetric matrix; directions without variance are left out."""
    values, vectors = np.linalg.eigh(matrix)
    kept = values > 1e-12 * values[-1]
    return np.asarray((vectors[:, kept] * values[kept] ** power) @ vectors[:, kept].T)
