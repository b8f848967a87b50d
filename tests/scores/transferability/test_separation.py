import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import weightedtau

from hf_transfer.errors import DataError
from hf_transfer.scores.transferability import h_score, weighted_tau


def classes_apart(distance, n=120, d=10, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    return rng.normal(size=(n, d)) + distance * np.eye(3, d)[labels], labels


def test_it_grows_with_the_distance_up_to_the_number_of_classes_but_one():
    scores = [h_score(*classes_apart(distance)) for distance in (0, 1, 3, 100)]
    assert scores == sorted(scores)
    assert scores[0] < 0.2
    assert 1.9 < scores[-1] <= 2


def test_many_random_features_do_not_saturate_it():
    rng = np.random.default_rng(0)
    assert h_score(rng.normal(size=(60, 200)), np.arange(60) % 4) < 0.6  # without shrinkage it is 3


@given(st.integers(0, 1000), st.floats(1e-6, 1e6))
@settings(deadline=None, max_examples=20)
def test_neither_unit_nor_place_matter(seed, scale):
    features, labels = classes_apart(1, n=30, seed=seed)
    assert h_score(scale * features + 5 * scale, labels) == pytest.approx(h_score(features, labels), rel=1e-5)


def test_constant_features_score_zero():
    assert h_score(np.ones((6, 2)), [0, 0, 1, 1, 2, 2]) == 0.0


@pytest.mark.parametrize("labels", [[0, 1], [0.0, 1.0, 0.0], [0, 1, -1]])
def test_labels_are_class_numbers(labels):
    with pytest.raises(DataError, match="class number from 0 for each of 3 rows"):
        h_score(np.eye(3), labels)


@given(st.lists(st.integers(0, 50), min_size=2, max_size=8, unique=True))
def test_the_same_order_agrees_and_the_reverse_disagrees(values):
    assert weighted_tau(values, [3 * v + 1 for v in values]) == pytest.approx(1)
    assert weighted_tau(values, [-v for v in values]) == pytest.approx(-1)


def test_an_exchange_at_the_top_weighs_more():
    top, bottom = weighted_tau([4, 3, 2, 1], [3, 4, 2, 1]), weighted_tau([4, 3, 2, 1], [4, 3, 1, 2])
    assert top < bottom
    assert top == pytest.approx(weightedtau([4, 3, 2, 1], [3, 4, 2, 1]).statistic)


def test_an_order_without_any_difference_is_none():
    assert np.isnan(weighted_tau([1, 1, 1], [1, 2, 3]))


@pytest.mark.parametrize(("one", "other"), [([1, 2], [1, 2, 3]), ([1], [1])])
def test_orders_are_of_one_length(one, other):
    with pytest.raises(DataError, match="one length of two or more"):
        weighted_tau(one, other)


def test_a_missing_score_cannot_be_put_in_order():
    with pytest.raises(DataError, match="without a score"):
        weighted_tau([1.0, np.nan], [1.0, 2.0])
