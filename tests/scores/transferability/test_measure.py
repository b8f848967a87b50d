import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from hf_transfer.errors import ConfigError
from hf_transfer.scores.transferability import Measure, measure_for

pairs = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=3, max_size=40)


@given(pairs)
def test_they_are_scikit_learns(rows):
    labels, predictions = np.array(rows).T
    assert Measure("accuracy", 3).score(labels, predictions) == pytest.approx(
        accuracy_score(labels, predictions)
    )
    recalls = [(predictions[labels == c] == c).mean() for c in np.unique(labels)]
    assert Measure("balanced_accuracy", 3).score(labels, predictions) == pytest.approx(np.mean(recalls))
    if (labels != 0).any():
        own = f1_score(labels, predictions, labels=[1, 2], average="micro", zero_division=0)
        assert Measure("f1_words", 3).score(labels, predictions) == pytest.approx(own)


@given(pairs, st.integers(0, 9))
def test_a_row_of_weight_two_counts_as_two_rows(rows, seed):
    labels, predictions = np.array(rows).T
    weights = np.random.default_rng(seed).integers(0, 3, (2, len(rows)))
    for name in ("accuracy", "balanced_accuracy", "f1_words"):
        measure = Measure(name, 3)
        found = measure.weighted(labels, predictions, weights.astype(float))
        for times, score in zip(weights, found, strict=True):
            wanted = (
                measure.score(np.repeat(labels, times), np.repeat(predictions, times))
                if times.any()
                else np.nan
            )
            assert score == pytest.approx(wanted, nan_ok=True)


@given(
    st.lists(st.integers(0, 3), min_size=2, max_size=30),
    st.sampled_from(["accuracy", "balanced_accuracy", "f1_words"]),
)
def test_the_best_single_answer_is_the_best_of_all(labels, name):
    measure, labels = Measure(name, 4), np.array(labels)
    scores = [measure.score(labels, np.full(len(labels), answer)) for answer in range(4)]
    if np.isfinite(scores).any():
        assert measure.constant(labels) == pytest.approx(np.nanmax(scores))


def test_the_score_follows_from_the_labels():
    assert measure_for(np.array([0] * 7 + [1] * 3), 2).name == "accuracy"
    prevailing = measure_for(np.array([0] * 8 + [1] * 2), 2)
    assert prevailing.name == "balanced_accuracy"
    assert prevailing.balanced
    assert balanced_accuracy_score([0, 0, 1], [0, 0, 0]) == prevailing.score(
        np.array([0, 0, 1]), np.zeros(3, int)
    )
    assert measure_for(np.array([0, 1]), 2, outside=0) == Measure("f1_words", 2, 0)


def test_one_label_leaves_nothing_to_tell():
    with pytest.raises(ConfigError, match="nothing to tell apart"):
        measure_for(np.array([1, 1]), 3)
