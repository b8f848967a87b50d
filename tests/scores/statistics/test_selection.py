import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_transfer.errors import ConfigError, DataError
from hf_transfer.scores.statistics import best_of, divide

FOLDS = np.arange(200) % 5


def guesses(num_configurations, num_rows, skill, seed):
    return (np.random.default_rng(seed).random((num_configurations, num_rows)) < skill).astype(float)


def test_the_luck_of_the_best_is_taken_off():
    optimism, left = [], []
    for seed in range(40):
        merits = guesses(16, 200, 0.8, seed)
        optimism.append(merits.mean(axis=1).max() - 0.8)
        left.append(best_of(merits, FOLDS, num_resamples=100, seed=seed) - 0.8)
    assert np.mean(optimism) > 0.03
    assert abs(np.mean(left)) < 0.01


def test_a_clear_winner_keeps_its_score():
    merits = np.stack([guesses(1, 200, 0.95, 0)[0], guesses(1, 200, 0.3, 1)[0]])
    assert best_of(merits, FOLDS, seed=0) == pytest.approx(merits[0].mean(), abs=0.005)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(0, 1000))
def test_it_lies_within_the_merits_of_the_rows(num_configurations, seed):
    merits = np.random.default_rng(seed).normal(size=(num_configurations, 40))
    found = best_of(merits, np.arange(40) % 4, num_resamples=20, seed=seed)
    assert merits.min() <= found <= merits.max()


def test_one_configuration_has_nothing_to_correct():
    merits = guesses(1, 200, 0.8, 0)
    assert best_of(merits, FOLDS, num_resamples=2000, seed=0) == pytest.approx(merits.mean(), abs=0.003)


def test_merits_of_rows_and_a_function_of_weights_agree():
    merits = guesses(4, 200, 0.7, 3)

    def means(weights):
        return np.stack([divide(weights @ line, weights.sum(axis=1)) for line in merits])

    assert best_of(means, FOLDS, seed=1) == pytest.approx(best_of(merits, FOLDS, seed=1))


def test_rows_of_a_unit_are_never_on_both_sides():
    # Each row occurs twice: were one of the two left out, the lucky would be scored on its own luck.
    merits = np.tile(guesses(16, 100, 0.5, 5), 2)
    units, folds = np.tile(np.arange(100), 2), np.tile(np.arange(100) % 5, 2)
    apart = best_of(merits, folds, seed=0)
    together = best_of(merits, folds, units=units, seed=0)
    assert together == pytest.approx(best_of(merits[:, :100], folds[:100], seed=0))
    assert together < apart


def test_where_nothing_is_left_out_there_is_no_estimate():
    assert best_of(guesses(3, 4, 0.5, 0), np.arange(4), seed=0) is None


@pytest.mark.parametrize(
    ("merits", "message"),
    [
        (np.ones(200), r"shape \(m, 200\), a line for each configuration, got shape \(200,\)"),
        (np.ones((2, 3)), r"got shape \(2, 3\)"),
        (np.full((2, 200), np.nan), r"finite merits .* got shape \(2, 200\) with 400 infinite"),
    ],
)
def test_merits_that_cannot_be_compared_are_refused(merits, message):
    with pytest.raises(DataError, match=message):
        best_of(merits, FOLDS, seed=0)


def test_impossible_settings_are_refused():
    with pytest.raises(ConfigError, match="num_resamples must be 1 or more, got 0"):
        best_of(np.ones((2, 200)), FOLDS, num_resamples=0, seed=0)
