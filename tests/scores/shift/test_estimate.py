import numpy as np
import pytest
from scipy.stats import entropy

from hf_transfer.scores.shift.estimate import (
    SURENESS,
    average_thresholded_confidence,
    greatest_probability,
    negative_entropy,
)

LOGITS = np.random.default_rng(0).normal(size=(200, 4)) * 3


def test_sureness_is_that_of_the_probabilities():
    shares = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    assert negative_entropy(LOGITS) == pytest.approx(-entropy(shares, axis=1))
    assert greatest_probability(LOGITS) == pytest.approx(shares.max(axis=1))
    sure = np.array([[1e4, 0.0, 0.0]])
    assert (negative_entropy(sure)[0], greatest_probability(sure)[0]) == (0, 1)


@pytest.mark.parametrize("name", SURENESS)
def test_of_the_same_rows_the_estimate_is_the_accuracy(name):
    right = np.random.default_rng(1).random(200) < 0.7
    sure = SURENESS[name](LOGITS)
    assert average_thresholded_confidence(sure, right, sure) == pytest.approx(right.mean())


@pytest.mark.parametrize(
    ("right", "wanted"), [([True] * 4, 0.75), ([False] * 4, 0.0), ([True, True, False, False], 0.25)]
)
def test_the_estimate_by_hand(right, wanted):
    known, new = np.array([0.5, 0.6, 0.8, 0.9]), np.array([0.4, 0.55, 0.7, 0.95])
    assert average_thresholded_confidence(known, np.array(right), new) == wanted


def test_less_sure_rows_are_estimated_lower():
    right = np.random.default_rng(1).random(200) < 0.7
    estimates = [
        average_thresholded_confidence(negative_entropy(LOGITS), right, negative_entropy(LOGITS / scale))
        for scale in (1, 2, 4)
    ]
    assert estimates == sorted(estimates, reverse=True)
    assert len(set(estimates)) == 3
