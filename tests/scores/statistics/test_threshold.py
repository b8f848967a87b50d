import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score

from hf_transfer.errors import ConfigError, DataError
from hf_transfer.scores.statistics import best_threshold
from hf_transfer.scores.statistics.threshold import THRESHOLD_METRICS


def f1(labels, positive) -> float:
    return 2 * (labels & positive).sum() / max(labels.sum() + positive.sum(), 1)


def balanced_accuracy(labels, positive) -> float:
    return (positive[labels == 1].mean() + (~positive[labels == 0]).mean()) / 2


SCORES = {"f1": f1, "balanced_accuracy": balanced_accuracy}
ROWS = st.lists(
    st.tuples(st.integers(0, 20).map(lambda i: i / 20), st.integers(0, 1)), min_size=2, max_size=30
)


@pytest.mark.parametrize("metric", THRESHOLD_METRICS)
@given(rows=ROWS)
def test_no_threshold_is_better_on_the_same_rows(metric, rows):
    shares, labels = map(np.array, zip(*rows, strict=True))
    assume(0 < labels.sum() < len(labels))
    found = best_threshold(shares, labels, metric)
    assert found.score == pytest.approx(SCORES[metric](labels, shares >= found.value))
    for value in np.linspace(0, 1, 41):
        assert SCORES[metric](labels, shares >= value) <= found.score + 1e-12


def test_the_scores_are_scikit_learns():
    shares, labels = np.linspace(0, 1, 9), np.array([0, 1, 0, 0, 1, 0, 1, 1, 0])
    for metric, score in (("f1", f1_score), ("balanced_accuracy", balanced_accuracy_score)):
        found = best_threshold(shares, labels, metric)
        assert found.score == pytest.approx(score(labels, shares >= found.value))


@given(rows=ROWS, order=st.randoms())
def test_the_order_of_rows_does_not_matter(rows, order):
    shares, labels = map(np.array, zip(*rows, strict=True))
    assume(0 < labels.sum() < len(labels))
    mixed = list(rows)
    order.shuffle(mixed)
    assert best_threshold(shares, labels, "f1") == best_threshold(*zip(*mixed, strict=True), "f1")


def test_of_equal_scores_the_one_nearest_to_a_half_is_taken():
    assert best_threshold([0.1, 0.2, 0.9, 0.95], [0, 0, 1, 1], "f1").value == pytest.approx(0.55)


def test_neighbouring_numbers_are_told_apart():
    low, high = 0.5, np.nextafter(0.5, 1)
    found = best_threshold([low, high], [0, 1], "balanced_accuracy")
    assert low < found.value <= high
    assert found.score == 1


@pytest.mark.parametrize(
    ("shares", "labels", "metric", "error", "message"),
    [
        ([0.1, 0.9], [0, 1], "accuracy", ConfigError, "f1 or balanced_accuracy, got 'accuracy'"),
        ([0.1, 0.9], [1, 1], "f1", DataError, r"rows labelled 0 and rows labelled 1, got labels \[1\]"),
        ([0.1, 0.9], [0, 2], "f1", DataError, r"got labels \[0, 2\]"),
        ([0.1], [0, 1], "f1", DataError, r"shapes \(1,\) and \(2,\)"),
        ([0.1, 1.5], [0, 1], "f1", DataError, r"from 0 to 1, got \[1.5\]"),
        ([0.1, float("nan")], [0, 1], "f1", DataError, "from 0 to 1"),
    ],
)
def test_what_cannot_be_cut_is_refused(shares, labels, metric, error, message):
    with pytest.raises(error, match=message):
        best_threshold(shares, labels, metric)
