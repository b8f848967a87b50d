"""Solve linear models exactly on a feature matrix, for many penalties at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.special import log_softmax

from hf_transfer import _guard  # noqa: F401

Matrix = NDArray[np.float64]
Labels = NDArray[np.int64]
Split = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Items to learn from, and items to choose by."""

# Length of the gradient in the curvature's own measure, the square of which is twice what the loss is
# above its minimum: of a classifier that is kept, and of one to choose by.
EXACT, NEAR_ENOUGH = 1e-10, 1e-3

_LEAST_STRENGTH = 1e-8  # without any penalty, classes that can be separated have no optimum
_NOISE = 1e-5  # a feature that varies by less of its mean holds rounding errors only
_NO_VARIANCE = 1e-13  # of the largest: a direction in which the items do not differ
_MOST_STEPS, _MOST_PRODUCTS, _LEAST_STEP = 100, 400, 1e-6
_ROUNDING = 1e-14  # of a loss


@dataclass(frozen=True)
class Classifier:
    """A linear classifier.

    Attributes:
        weight: (c, d).
        bias: (c,).
    """

    weight: Matrix
    bias: Matrix

    def scores(self, features: NDArray[np.floating]) -> Matrix:
        """Score of each class, (n, c)."""
        return features @ self.weight.T + self.bias


@dataclass(frozen=True)
class LinearProblem:
    """Labelled items to fit a linear classifier to, with an L2 penalty on the weights.

    Features are standardised by the mean and the deviation of these items, and the penalty is on weights
    of standardised features; what is solved takes features as they come.

    Attributes:
        features: Of each item, (n, d).
        labels: (n,), from 0 to `num_classes` - 1; a class may be missing.
        solver: `lbfgs` for the cross-entropy, or `ridge` for the squared error against 1 and -1.
        balanced: Whether all classes weigh the same, however many items they have.
        dropped: Variance that dropout will add to a feature, as a share of its squared mean.
        shares: What each item counts of the whole, (n,), as if it were there that often; all the same, or all
            classes the same with `balanced`, where it is not given.
    """

    features: NDArray[np.floating]
    labels: Labels
    num_classes: int
    solver: str = "lbfgs"
    balanced: bool = False
    dropped: float = 0.0
    shares: Matrix | None = None

    def solve(self, strengths: Sequence[float], tolerance: float = EXACT) -> dict[float, Classifier]:
        """Optimum for each penalty; a penalty is relative to the mean loss of an item.

        Each is found from that of the next stronger penalty. The result does not depend on the others: there
        is one optimum, and `EXACT` is near enough to it that logits agree to a millionth.
        """
        order = sorted(strengths, reverse=True)
        floored = [max(strength, _LEAST_STRENGTH) for strength in order]
        path = self._ridge(floored) if self.solver == "ridge" else self._logistic(floored, tolerance)
        return {strength: self._unstandardised(own) for strength, own in zip(order, path, strict=True)}

    def choose(self, strengths: Sequence[float], splits: Sequence[Split]) -> float:
        """The penalty with the lowest loss on items that were left out; ties go to the stronger."""
        losses = dict.fromkeys(sorted(strengths, reverse=True), 0.0)
        for learn, check in splits:
            for strength, found in self.part(learn).solve(strengths, NEAR_ENOUGH).items():
                losses[strength] += self.part(check).loss(found)
        return min(losses, key=losses.__getitem__)

    def part(self, items: NDArray[np.int64]) -> "LinearProblem":
        """The same problem on some of the items."""
        shares = None if self.shares is None else self.shares[items] / self.shares[items].sum()
        return replace(self, features=self.features[items], labels=self.labels[items], shares=shares)

    def loss(self, classifier: Classifier) -> float:
        """Loss of a classifier over all items, without the penalty."""
        scores = classifier.scores(self.features)
        if self.solver == "ridge":
            return float(((scores - self._aims) ** 2).sum())
        return float(-log_softmax(scores, axis=1)[np.arange(len(scores)), self.labels].sum())

    @cached_property
    def _scale(self) -> tuple[Matrix, Matrix]:
        """Mean and standard deviation of each feature."""
        features = self.features.astype(np.float64)
        if self.shares is None:
            middle, spread = features.mean(0), features.std(0)
        else:
            middle = self.shares @ features
            spread = np.sqrt(self.shares @ (features - middle) ** 2)
        spread[spread <= _NOISE * np.abs(middle) + 1e-8] = 1.0
        return middle, np.sqrt(spread**2 + self.dropped * middle**2)

    @cached_property
    def _standardised(self) -> Matrix:
        middle, spread = self._scale
        return (self.features - middle) / spread

    def _unstandardised(self, own: Classifier) -> Classifier:
        middle, spread = self._scale
        weight = own.weight / spread
        return Classifier(weight, own.bias - weight @ middle)

    @cached_property
    def _weights(self) -> Matrix:
        """Weight of each item; they sum to 1."""
        if self.shares is not None:
            return self.shares
        counts = np.bincount(self.labels, minlength=self.num_classes)
        each = 1 / (counts * np.count_nonzero(counts) + (counts == 0)) if self.balanced else None
        return np.full(len(self.labels), 1 / len(self.labels)) if each is None else each[self.labels]

    @property
    def _aims(self) -> Matrix:
        aims: Matrix = 2.0 * (self.labels[:, None] == np.arange(self.num_classes)) - 1
        return aims

    def _ridge(self, strengths: Sequence[float]) -> Iterator[Classifier]:
        root = np.sqrt(self._weights)[:, None]
        middle, aim = self._weights @ self._standardised, self._weights @ self._aims
        weighted = root * (self._standardised - middle)
        directions, variances = principal_axes(weighted)
        along = (root * (self._aims - aim)).T @ (weighted @ directions.T)
        for strength in strengths:
            weight = along / (variances + strength) @ directions
            yield Classifier(weight, aim - weight @ middle)

    def _logistic(self, strengths: Sequence[float], tolerance: float) -> Iterator[Classifier]:
        """Fit logistic regression in principal coordinates, where the curvature is nearly diagonal."""
        present, targets = np.unique(self.labels, return_inverse=True)
        for found in self._minima(np.eye(len(present))[targets], self._weights, strengths, tolerance):
            yield self._spread_over(present, found.weight, found.bias)

    def _minima(
        self, targets: Matrix, weights: Matrix, strengths: Sequence[float], tolerance: float
    ) -> Iterator[Classifier]:
        """The minimum of the cross-entropy of some classes, (n, k), for each strength of the penalty."""
        directions, items, variances = self._coordinates
        # Two classes have one weight vector in scikit-learn, the difference of ours: half its squared norm.
        factor = 2.0 if targets.shape[1] == 2 else 1.0
        loss = _CrossEntropy(items, variances, targets, weights)
        found = np.zeros((targets.shape[1], items.shape[1]))
        for strength in strengths:
            found = loss.minimum(factor * strength, found, tolerance)
            found = found - found.mean(0)  # changes no probability, and is 0 at the optimum but for rounding
            yield Classifier(found[:, :-1] @ directions, found[:, -1])

    @cached_property
    def _coordinates(self) -> tuple[Matrix, Matrix, Matrix]:
        """Principal axes, in which the curvature is nearly diagonal; items along them, and a 1; variances."""
        directions, variances = principal_axes(self._standardised / np.sqrt(len(self.labels)))
        items = np.column_stack([self._standardised @ directions.T, np.ones(len(self.labels))])
        return directions, items, np.append(variances, 1.0)

    def _spread_over(self, present: Labels, weight: Matrix, bias: Matrix) -> Classifier:
        """Expand weights to all classes; an absent class gets the probability of a single item."""
        whole = np.zeros((self.num_classes, weight.shape[1]))
        offsets = np.full(self.num_classes, bias.mean() - np.log(len(self.labels)))
        whole[present], offsets[present] = weight, bias
        return Classifier(whole, offsets)


@dataclass(frozen=True)
class NumberProblem(LinearProblem):
    """The same for numbers, (n, t): the squared error of t linear functions, by ridge regression.

    Attributes:
        units: What errors are measured by to choose a penalty, (t,); the numbers may be of other sizes.
    """

    units: Matrix | float = 1.0

    def loss(self, classifier: Classifier) -> float:
        """The squared error over all items, in their units."""
        return float((((classifier.scores(self.features) - self._aims) / self.units) ** 2).sum())

    @property
    def _aims(self) -> Matrix:
        return self.labels.reshape(len(self.labels), -1).astype(np.float64)

    @property
    def _weights(self) -> Matrix:
        return np.full(len(self.labels), 1 / len(self.labels))


@dataclass(frozen=True)
class LabelSetProblem(LinearProblem):
    """The same for sets of labels, (n, c) of 0 and 1: a classifier of two classes for each label.

    With `balanced`, rows that have a label weigh as much as those that lack it, as `pos_weight` does.
    """

    def loss(self, classifier: Classifier) -> float:
        """The loss of a classifier over all items and labels, without the penalty."""
        scores = classifier.scores(self.features)
        if self.solver == "ridge":
            return float(((scores - self._aims) ** 2).sum())
        return float(np.logaddexp(0, -self._aims * scores).sum())

    @property
    def _aims(self) -> Matrix:
        return 2 * self.labels.astype(np.float64) - 1

    @property
    def _weights(self) -> Matrix:
        return np.full(len(self.labels), 1 / len(self.labels))

    def _logistic(self, strengths: Sequence[float], tolerance: float) -> Iterator[Classifier]:
        paths = [self._binary(column, strengths, tolerance) for column in self.labels.T]
        for found in zip(*paths, strict=True):
            yield Classifier(*(np.stack(parts) for parts in zip(*found, strict=True)))

    def _binary(
        self, labels: Labels, strengths: Sequence[float], tolerance: float
    ) -> Iterator[tuple[Matrix, Matrix]]:
        """Weights and bias of one label for each strength."""
        num_items, num_positive = len(labels), int(labels.sum())
        if num_positive in (0, num_items):  # as unlikely as one item in all
            bias = np.asarray(np.log(num_items) * (1 if num_positive else -1))
            yield from ((np.zeros(self.features.shape[1]), bias) for _ in strengths)
            return
        positive_weight = (num_items - num_positive) / num_positive if self.balanced else 1.0
        weights = np.where(labels == 1, positive_weight, 1.0) / num_items
        for found in self._minima(np.eye(2)[labels], weights, strengths, tolerance):
            yield found.weight[1] - found.weight[0], found.bias[1] - found.bias[0]


def principal_axes(matrix: Matrix) -> tuple[Matrix, Matrix]:
    """Principal axes (r, d) of a matrix's rows, and their sums of squares (r,)."""
    if len(matrix) < matrix.shape[1]:
        _, singular, directions = linalg.svd(matrix, full_matrices=False)
        squares = singular**2
    else:
        squares, vectors = linalg.eigh(matrix.T @ matrix)
        directions = vectors.T
    kept = squares > _NO_VARIANCE * max(squares.max(), np.finfo(float).tiny)
    return directions[kept], squares[kept]


@dataclass(frozen=True)
class _CrossEntropy:
    """Mean cross-entropy as a function of weights (c, r + 1), the bias last.

    Attributes:
        items: (n, r + 1), the last all ones.
        variances: Of each column of `items`, (r + 1,).
        targets: (n, c), one 1 a row.
        weights: What each item counts, (n,).
    """

    items: Matrix
    variances: Matrix
    targets: Matrix
    weights: Matrix

    def minimum(self, strength: float, start: Matrix, tolerance: float) -> Matrix:
        """Minimise the penalised loss by Newton's method with conjugate gradients.

        References:
            Nocedal and Wright, Numerical Optimization, 2006, chapter 7.1.
        """
        penalty = np.append(np.full(len(self.variances) - 1, strength), 0.0)
        point, value, logp = start, *self._at(start, penalty)
        for _ in range(_MOST_STEPS):
            here = _Curvature(self, penalty, np.exp(logp))
            gradient = ((here.shares - self.targets) * self.weights[:, None]).T @ self.items + penalty * point
            length = float(np.sqrt((gradient**2 * here.inverse).sum()))
            if length <= tolerance:
                break
            step = here.newton_step(gradient, forcing=min(0.25, length**0.5))
            size, slope = 1.0, float((gradient * step).sum())
            while size > _LEAST_STEP:
                new, new_logp = self._at(point + size * step, penalty)
                if new <= value + 1e-4 * size * slope + _ROUNDING * (1 + abs(value)):
                    break
                size /= 2
            else:
                break  # rounding errors are larger than what is left
            point, value, logp = point + size * step, new, new_logp
        else:
            raise ArithmeticError(
                f"the closed form of the head was not at its optimum after {_MOST_STEPS} steps; a higher "
                "weight_decay has a nearer one"
            )
        return point

    def _at(self, point: Matrix, penalty: Matrix) -> tuple[float, Matrix]:
        """Penalised loss at a point, and the log-probabilities, (n, c)."""
        logp: Matrix = log_softmax(self.items @ point.T, axis=1)
        loss = -float(self.weights @ (logp * self.targets).sum(1))
        return loss + float((penalty * point**2).sum()) / 2, logp


class _Curvature:
    """Hessian of the penalised cross-entropy at given probabilities, (n, c)."""

    def __init__(self, loss: _CrossEntropy, penalty: Matrix, shares: Matrix) -> None:
        self.loss, self.penalty, self.shares = loss, penalty, shares
        spread = np.maximum(loss.weights @ (shares * (1 - shares)), 1e-8)
        self.inverse = 1 / (spread[:, None] * loss.variances + penalty)  # of the diagonal, nearly

    def product(self, direction: Matrix) -> Matrix:
        moved = self.loss.items @ direction.T
        moved = self.shares * (moved - (self.shares * moved).sum(1, keepdims=True))
        curved: Matrix = (moved * self.loss.weights[:, None]).T @ self.loss.items
        return curved + self.penalty * direction

    def newton_step(self, gradient: Matrix, forcing: float) -> Matrix:
        """Solve for the Newton step until the residual is below `forcing` of the gradient."""
        step, left = np.zeros_like(gradient), -gradient
        direction = scaled = self.inverse * left
        size = first = float((left * scaled).sum())
        for _ in range(_MOST_PRODUCTS):
            product = self.product(direction)
            bent = float((direction * product).sum())
            if bent <= 0 or size <= forcing**2 * first:
                break
            step = step + size / bent * direction
            left = left - size / bent * product
            scaled = self.inverse * left
            before, size = size, float((left * scaled).sum())
            direction = scaled + size / before * direction
        return step
