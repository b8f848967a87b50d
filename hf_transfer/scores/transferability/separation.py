"""H-score, and how well two orders agree."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError
from hf_transfer.scores.transferability.probe import checked_rows


def h_score(features: ArrayLike, labels: ArrayLike) -> float:
    """Measure how far apart the classes' means lie, in units of the features' own spread.

    With the covariance shrunk by Ledoit and Wolf's rule: without, features that outnumber the rows
    score the highest possible value, c - 1, whatever they are.

    Args:
        features: (n, d).
        labels: Class numbers from 0, (n,).

    Returns:
        From 0 to c - 1 for c classes; 0 where no feature varies.

    Raises:
        DataError: If features and labels do not fit each other, or a feature is not finite.

    References:
        Bao et al., "An information-theoretic approach to transferability in task transfer learning", ICIP
        2019; Ibrahim, Ponomareva and Mazumder, "Newer is not always better: rethinking transferability
        metrics", 2021, https://arxiv.org/abs/2110.06893: the shrinkage.
    """
    from sklearn.covariance import ledoit_wolf

    table, classes = checked_rows(features, labels)
    centred = table.astype(np.float64) - table.mean(axis=0, dtype=np.float64)
    centred = centred[:, centred.any(axis=0)]
    if not centred.size:
        return 0.0
    # The score does not depend on the unit; the rule, in floating point, does.
    covariance, shrinkage = ledoit_wolf(centred / centred.std(), assume_centered=True)
    centred = centred / centred.std()
    _, own, counts = np.unique(classes, return_inverse=True, return_counts=True)
    means = np.zeros((len(counts), centred.shape[1]))
    np.add.at(means, own, centred)
    means /= counts[:, None]
    values, vectors = linalg.eigh(covariance, check_finite=False)
    kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
    along = np.sqrt(counts / len(classes))[:, None] * (means @ vectors[:, kept])
    return float((1 - shrinkage) * (along**2 / values[kept]).sum())


def weighted_tau(first: ArrayLike, second: ArrayLike) -> float:
    """Weighted rank correlation of two orders, where swaps near the top count more.

    Args:
        first: A number for each candidate, (m,); higher is better.
        second: The same of the other order.

    Returns:
        From -1 (reversed) over 0 (unrelated) to 1 (the same); NaN where one order ranks nothing.

    Raises:
        DataError: If they are not two lists of one length of two or more.

    References:
        Vigna, "A weighted correlation index for rankings with ties", WWW 2015.

    Example:
        >>> weighted_tau([0.9, 0.8, 0.7], [30, 20, 10])
        1.0
    """
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.ndim != 1 or one.shape != other.shape or len(one) < 2:
        raise DataError(
            f"Expected two lists of one length of two or more, got shapes {one.shape}, {other.shape}."
        )
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise DataError("Only finite numbers can be put in order. Leave out candidates without a score.")
    if not np.ptp(one) or not np.ptp(other):
        return float("nan")
    from scipy.stats import weightedtau  # half of the seconds that every `--help` would take

    return float(weightedtau(one, other).statistic)
