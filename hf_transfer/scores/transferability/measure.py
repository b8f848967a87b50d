"""The metric for ranking: accuracy, balanced accuracy, or F1 of words."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError
from hf_transfer.scores.number_metrics import Numbers
from hf_transfer.scores.set_metrics import set_scores
from hf_transfer.scores.statistics.counts import divide, mean_defined, scores_from_counts

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Name = Literal["accuracy", "balanced_accuracy", "f1_words", "r_squared", "f1_micro"]

_HALF = 0.5
_LEAST = 1e-300  # spread of a column, so that one of equal numbers stays 0

MOSTLY_ONE = 0.7  # share of the largest class from which on accuracy says little


@dataclass(frozen=True)
class Measure:
    """A metric that is a function of each class's right, true and predicted counts.

    Attributes:
        name: `accuracy`; `balanced_accuracy`, the mean of the classes' recalls; or `f1_words`, F1 over
            all words that are part of a mention or are taken for one.
        num_classes: Number of classes, c.
        outside: For `f1_words`, the class of words that are no part of a mention.
    """

    name: Name
    num_classes: int
    outside: int = 0

    range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    @property
    def balanced(self) -> bool:
        """Whether a probe should weight rare and frequent classes equally."""
        return self.name == "balanced_accuracy"

    def answers(self, decisions: Floats) -> NDArray[Any]:
        """What is predicted where this speaks for each class, (…, c)."""
        return np.asarray(decisions.argmax(axis=-1))

    def evident(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Labels as `log_me` takes them."""
        return labels

    def score(self, labels: NDArray[Any], predictions: NDArray[Any]) -> float:
        """Score predictions; NaN if undefined."""
        return float(self.weighted(labels, predictions, np.ones((1, len(labels))))[0])

    def weighted(self, labels: NDArray[Any], predictions: NDArray[Any], weights: Floats) -> Floats:
        """Score weighted rows.

        Args:
            labels: Class of each row, (n,).
            predictions: Predicted class of each row, (n,).
            weights: (b, n).

        Returns:
            Scores, (b,).
        """
        one_hot = np.eye(self.num_classes)
        true, predicted = one_hot[labels], one_hot[predictions]
        return self.of_counts(weights @ (true * predicted), weights @ true, weights @ predicted)

    def of_counts(self, hits: Floats, support: Floats, predicted: Floats) -> Floats:
        """Score counts of right, true and predicted rows, (b, c) each."""
        if self.name != "f1_words":
            return scores_from_counts(hits, support, predicted)[self.name]
        inside = np.arange(self.num_classes) != self.outside
        return divide(2 * hits[:, inside].sum(axis=1), (support + predicted)[:, inside].sum(axis=1))

    def constant(self, labels: NDArray[Any]) -> float:
        """Score of the best constant answer."""
        support = np.bincount(labels, minlength=self.num_classes).astype(np.float64)
        always = np.eye(self.num_classes) * len(labels)
        return float(np.nanmax(self.of_counts(np.diag(support), np.tile(support, (len(support), 1)), always)))


@dataclass(frozen=True)
class NumberMeasure(Measure):
    """R² of predicted numbers: what is explained of the labels' variance; of several, their mean."""

    name: Name = "r_squared"
    num_classes: int = 1
    range: ClassVar[tuple[float, float]] = (-np.inf, 1.0)

    def answers(self, decisions: Floats) -> NDArray[Any]:
        """The number, of (…, 1), or all of several."""
        return np.asarray(decisions[..., 0] if self.num_classes == 1 else decisions)

    def evident(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Around their mean and in their own units, as the features are not centred."""
        centred = labels - labels.mean(axis=0)
        return np.asarray(centred if labels.ndim == 1 else centred / np.maximum(centred.std(axis=0), _LEAST))

    def weighted(self, labels: NDArray[Any], predictions: NDArray[Any], weights: Floats) -> Floats:
        """R² of rows that count as often as their weights say."""
        columns = zip(_columns(labels), _columns(predictions), strict=True)
        return mean_defined(Numbers(*pair).r_squared(weights) for pair in columns)

    def constant(self, labels: NDArray[Any]) -> float:
        """That of their mean."""
        return 0.0


@dataclass(frozen=True)
class LabelSetMeasure(Measure):
    """Micro-averaged F1 of sets of labels."""

    def answers(self, decisions: Floats) -> NDArray[Any]:
        """The labels whose share among such rows is a half or more."""
        return np.asarray(decisions >= _HALF)

    def evident(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Those that some row has."""
        return np.asarray(labels[:, labels.any(axis=0)])

    def weighted(self, labels: NDArray[Any], predictions: NDArray[Any], weights: Floats) -> Floats:
        """F1 of rows that count as often as their weights say."""
        return set_scores(labels == 1, predictions == 1, weights)["f1_micro"]

    def constant(self, labels: NDArray[Any]) -> float:
        """That of the best set of labels for all rows: the commonest ones."""
        counts = np.sort(labels.sum(axis=0))[::-1]
        given = np.arange(1, len(counts) + 1) * len(labels)
        return float((2 * np.cumsum(counts) / (given + counts.sum())).max())


def measure_for(labels: Ints, num_classes: int, *, outside: int | None = None) -> Measure:
    """Choose the metric: F1 for words, accuracy for classes, balanced accuracy if one class prevails.

    Args:
        labels: Class of each row, (n,).
        num_classes: Number of classes.
        outside: Of words, the class of those that are no part of a mention.

    Raises:
        ConfigError: If all rows have one class, as there is nothing to tell apart.
    """
    counts = np.bincount(labels, minlength=num_classes)
    if (counts > 0).sum() < 2:
        raise ConfigError(
            "All rows have the same label, so there is nothing to tell apart. Give rows of two or more."
        )
    if outside is not None:
        return Measure("f1_words", num_classes, outside)
    prevails = counts.max() > MOSTLY_ONE * len(labels)
    return Measure("balanced_accuracy" if prevails else "accuracy", num_classes)


def _columns(numbers: NDArray[Any]) -> NDArray[Any]:
    """Numbers (n,) or (n, t) as columns, (t, n)."""
    return np.atleast_2d(numbers.T)
