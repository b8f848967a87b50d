"""Combine the probabilities of several models: weights, and what they are worth. numpy and scipy only."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from hf_transfer import _guard  # noqa: F401
from hf_transfer.scores.metrics import row_losses
from hf_transfer.scores.regression import LinearProblem, Matrix
from hf_transfer.scores.statistics import apply_temperature, fit_temperature

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WEIGHTED = ("pick", "mean", "greedy", "nnls")
"""Ways to weight the members' probabilities; `pick` gives the best alone all weight."""
WAYS = (*WEIGHTED, "concat")
"""These, and one head on the features of all members side by side."""

_MOST_STEPS = 50  # of greedy selection
_GAIN = 1e-6  # of the log loss, below which it stops


@dataclass(frozen=True)
class Outputs:
    """Logits of some members for the rows of one fold, (m, n, c) each.

    Attributes:
        inner: Of training rows, each from a head that did not learn from it.
        inner_labels: Classes of those rows, (n,).
        train: Of training rows, from the head that learned from all of them.
        train_labels: Classes of those rows, (n,).
        valid: Of held-out rows, from that head.
    """

    inner: Floats
    inner_labels: Ints
    train: Floats
    train_labels: Ints
    valid: Floats

    @property
    def temperatures(self) -> Floats:
        """What each member's logits are divided by, fitted on inner folds, (m,)."""
        return np.array([fit_temperature(logits, self.inner_labels) for logits in self.inner])

    def weights(self, way: str) -> Floats:
        """The members' weights, from calibrated probabilities of rows that no head learned from, (m,)."""
        return weigh(way, shares_of(self.inner, self.temperatures), self.inner_labels)

    def combined(self, way: str) -> Floats:
        """Probabilities of held-out rows, (v, c)."""
        return together(self.weights(way), shares_of(self.valid, self.temperatures))

    def by_training_rows(self, way: str) -> tuple[Floats, Floats]:
        """What weights of training rows give: probabilities of those rows, and of held-out ones.

        As it is often done: probabilities as they come, of rows that the heads have learned from.
        """
        plain = np.ones(len(self.train))
        weights = weigh(way, shares_of(self.train, plain), self.train_labels)
        return tuple(together(weights, shares_of(one, plain)) for one in (self.train, self.valid))  # type: ignore[return-value]


def shares_of(logits: Floats, temperatures: Floats) -> Floats:
    """Probabilities of each member, (m, n, c)."""
    return np.stack([apply_temperature(one, t) for one, t in zip(logits, temperatures, strict=True)])


def together(weights: Floats, shares: Floats) -> Floats:
    """The weighted mean of probabilities, (n, c)."""
    return np.asarray(np.tensordot(weights, shares, axes=1))


def weigh(way: str, shares: Floats, labels: Ints) -> Floats:
    """Weights of members, (m,), which sum to 1.

    Args:
        way: Of `WEIGHTED`.
        shares: Probabilities, (m, n, c).
        labels: Classes, (n,).

    References:
        Caruana et al., "Ensemble selection from libraries of models", ICML 2004: `greedy`. Breiman,
        "Stacked regressions", Machine Learning 24, 1996: `nnls`.
    """
    best: Floats = np.eye(len(shares))[int(np.argmin([row_losses(labels, one).mean() for one in shares]))]
    if way == "pick":
        return best
    if way == "mean":
        return np.full(len(shares), 1 / len(shares))
    if way == "greedy":
        return _greedy(shares, labels)
    wanted = np.eye(shares.shape[2])[labels]
    found, _ = nnls(shares.reshape(len(shares), -1).T, wanted.ravel())
    return np.asarray(found / found.sum()) if found.sum() > 0 else best


def _greedy(shares: Floats, labels: Ints) -> Floats:
    """Add the member, again and again, that lowers the log loss of the mean most."""
    own = shares[:, np.arange(len(labels)), labels]  # probability of the right class, (m, n)
    counts, total, loss = np.zeros(len(shares)), np.zeros(len(labels)), np.inf
    for step in range(1, _MOST_STEPS + 1):
        losses = -np.log(np.maximum((total + own) / step, 1e-12)).mean(axis=1)
        member = int(losses.argmin())
        if losses[member] > loss - _GAIN:
            break
        loss, total = float(losses[member]), total + own[member]
        counts[member] += 1
    return np.asarray(counts / counts.sum())


@dataclass(frozen=True)
class BlockProblem(LinearProblem):
    """A linear classifier of several models' features side by side, each model's as heavy as another's.

    Attributes:
        widths: Columns of each model, in order; else the widest would win.
    """

    widths: Sequence[int] = ()

    @cached_property
    def _scale(self) -> tuple[Matrix, Matrix]:
        middle, spread = super()._scale
        return middle, spread * np.sqrt(np.repeat(self.widths, self.widths) / np.mean(self.widths))
