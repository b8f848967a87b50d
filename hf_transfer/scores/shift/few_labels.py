"""Accuracy from a few labelled rows that were drawn at random: an exact interval, and a narrower one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from hf_transfer import _guard  # noqa: F401

Floats = NDArray[np.float64]
Interval = tuple[float, float]


def exact_interval(num_right: int, num_rows: int, level: float = 0.95) -> Interval:
    """Interval of a share that covers it at least as often as it says, for any number of rows.

    References:
        Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the
        binomial", Biometrika 26, 1934.

    Example:
        >>> low, high = exact_interval(20, 30)
        >>> round(low, 4), round(high, 4)
        (0.4719, 0.8271)
    """
    tail, wrong = (1 - level) / 2, num_rows - num_right
    low = float(special.betaincinv(num_right, wrong + 1, tail)) if num_right else 0.0
    high = float(special.betaincinv(num_right + 1, wrong, 1 - tail)) if wrong else 1.0
    return low, high


@dataclass(frozen=True)
class Powered:
    """An estimate of accuracy from labels and predictions together.

    Attributes:
        accuracy: From 0 to 1.
        interval: By the normal approximation.
        weight: How much the predictions count, from 0, where they are no use, to 1.
    """

    accuracy: float
    interval: Interval
    weight: float


def prediction_powered(
    right: NDArray[np.bool_], sureness: Floats, others: Floats, level: float = 0.95
) -> Powered:
    """Narrow the interval of accuracy by how sure the model is of the rows without labels.

    However wrong it is of itself, the interval stays right for many labels; the better it knows when it is
    right, the narrower it gets.

    Args:
        right: Which labelled rows the model has right, (n,).
        sureness: Its own probability of being right for each of them, (n,).
        others: The same for each row without a label, (m,).
        level: Of the interval.

    References:
        Angelopoulos et al., "Prediction-powered inference", Science 382, 2023; Angelopoulos, Duchi and Zrnic,
        "PPI++: efficient prediction-powered inference", 2023: the weight.
    """
    truth, n, m = right.astype(np.float64), len(right), len(others)
    spread = float(np.concatenate([sureness, others]).var(ddof=1))
    shared = float(((truth - truth.mean()) * (sureness - sureness.mean())).mean())
    weight = float(np.clip(shared / ((1 + n / m) * spread), 0, 1)) if spread > 0 and m else 0.0
    rest = truth - weight * sureness
    middle = float(rest.mean() + weight * (others.mean() if m else 0.0))
    variance = rest.var() / n + (weight**2 * others.var() / m if m else 0.0)
    margin = float(special.ndtri((1 + level) / 2) * np.sqrt(variance))
    accuracy = float(np.clip(middle, 0, 1))
    return Powered(accuracy, (max(0.0, middle - margin), min(1.0, middle + margin)), weight)
