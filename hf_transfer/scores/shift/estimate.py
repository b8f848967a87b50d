"""Estimate accuracy on rows without labels, from how sure a model is of them."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax, xlogy

from hf_transfer import _guard  # noqa: F401

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def negative_entropy(logits: Floats) -> Floats:
    """Negative entropy of each row's probabilities, (n,): 0 for a row that is sure."""
    shares = softmax(logits, axis=1)
    return np.asarray(xlogy(shares, shares).sum(axis=1))


def greatest_probability(logits: Floats) -> Floats:
    """Probability of each row's likeliest class, (n,)."""
    return np.asarray(softmax(logits, axis=1).max(axis=1))


SURENESS: Mapping[str, Callable[[Floats], Floats]] = {
    "negative entropy": negative_entropy, "greatest probability": greatest_probability,
}  # fmt: skip


def average_thresholded_confidence(known: Floats, right: Bools, new: Floats) -> float:
    """Estimate accuracy as the share of new rows that are surer than a threshold.

    Below the threshold are as many of the known rows as are wrong, though not the same ones.

    Args:
        known: How sure the model is of each row with a label that it did not learn from, (n,).
        right: Which of them it has right, (n,).
        new: How sure it is of each row without a label, (m,).

    References:
        Garg et al., "Leveraging unlabeled data to predict out-of-distribution performance", ICLR 2022.

    Example:
        >>> average_thresholded_confidence(
        ...     np.array([0.6, 0.7, 0.8, 0.9]), np.array([True, False, True, True]), np.array([0.65, 0.75])
        ... )
        0.5
    """
    num_wrong = int((~right).sum())
    threshold = np.append(np.sort(known), np.inf)[num_wrong]
    return float((new >= threshold).mean())
