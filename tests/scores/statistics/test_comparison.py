import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.datasets import make_moons
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.svm import SVC

from hf_transfer.errors import ConfigError, DataError
from hf_transfer.scores.statistics import (
    corrected_error,
    corrected_resampled_t,
    holm,
    mcnemar,
    one_standard_error,
)

DIFFERENCES = [0.02, 0.01, 0.03, 0.0, 0.04]


@pytest.fixture(scope="module")
def moons():
    """Differences of scikit-learn's example of comparing models: 10 folds, 10 times, rbf less linear."""
    x, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    scores = (
        cross_val_score(SVC(kernel=kernel, random_state=0), x, y, scoring="roc_auc", cv=folds)
        for kernel in ("rbf", "linear")
    )
    first, second = scores
    return first - second


def test_corrected_t_gives_the_numbers_of_scikit_learns_example(moons):
    test = corrected_resampled_t(moons, num_folds=10, alternative="greater")
    assert test.mean / corrected_error(moons, num_folds=10) == pytest.approx(0.750313, abs=1e-6)
    assert test.p == pytest.approx(0.227423, abs=1e-6)


def test_corrected_t_has_the_published_form():
    test = corrected_resampled_t([0.02, 0.01, 0.03, 0.0, 0.04], num_folds=5)
    error = (test.interval[1] - test.mean) / stats.t.ppf(0.975, 4)
    assert error == pytest.approx(0.0106066, abs=1e-7)
    assert test.mean / error == pytest.approx(1.885618, abs=1e-6)
    assert test.p == pytest.approx(0.132419, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30), st.integers(2, 10))
def test_corrected_t_is_more_careful_than_the_plain_one(differences, num_folds):
    if np.ptp(differences) < 1e-6:
        return
    plain = stats.ttest_1samp(differences, 0)
    corrected = corrected_resampled_t(differences, num_folds)
    assert corrected.p >= plain.pvalue - 1e-12
    assert corrected.interval[0] <= corrected.mean <= corrected.interval[1]


def test_equal_configurations_are_not_told_apart():
    assert corrected_resampled_t([0.0, 0.0, 0.0], num_folds=3) == (0.0, (0.0, 0.0), 1.0)


def test_a_constant_difference_has_no_p_value():
    with pytest.warns(RuntimeWarning, match=r"All fold differences equal 0\.1, so their spread is 0"):
        mean, interval, p = corrected_resampled_t([0.9 - 0.8, 0.8 - 0.7, 0.7 - 0.6], num_folds=3)
    assert (mean, interval) == (pytest.approx(0.1), (pytest.approx(0.1), pytest.approx(0.1)))
    assert math.isnan(p)


@pytest.mark.parametrize(
    ("differences", "num_folds", "error", "message"),
    [
        ([0.1], 5, DataError, r"two or more fold differences, got shape \(1,\)"),
        ([[0.1, 0.2]], 5, DataError, r"got shape \(1, 2\)"),
        ([0.1, float("nan")], 5, DataError, r"must be finite, got \[0\.1, nan\]"),
        ([0.1, 0.2], 1, ConfigError, "num_folds must be above 1, got 1"),
    ],
)
def test_differences_that_cannot_be_tested_are_refused(differences, num_folds, error, message):
    with pytest.raises(error, match=message):
        corrected_resampled_t(differences, num_folds)


def test_level_of_the_t_interval_is_checked():
    with pytest.raises(ConfigError, match=r"level must lie between 0 and 1, such as 0\.95, got 1"):
        corrected_resampled_t([0.1, 0.2], 5, level=1)


def test_the_sides_of_the_test_belong_together():
    both, greater, less = (
        corrected_resampled_t(DIFFERENCES, 5, alternative=side) for side in ("two-sided", "greater", "less")
    )
    assert greater.p + less.p == pytest.approx(1)
    assert both.p == pytest.approx(2 * min(greater.p, less.p))
    assert greater.p < 0.5 < less.p
    assert both.interval == greater.interval == less.interval


@pytest.mark.parametrize("alternative", ["greater", "less"])
def test_without_spread_no_side_is_better(alternative):
    assert corrected_resampled_t([0.0, 0.0], 2, alternative=alternative).p == 1


def test_an_unknown_side_is_refused():
    with pytest.raises(ConfigError, match="'two-sided', 'greater' or 'less', got 'larger'"):
        corrected_resampled_t(DIFFERENCES, 5, alternative="larger")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=10), st.integers(2, 10), st.integers(2, 20))
def test_repeats_do_not_take_the_correction_away(differences, num_folds, times):
    spread = float(np.std(differences))
    many = corrected_error(differences * times, num_folds)
    assert many <= corrected_error(differences, num_folds) + 1e-12
    assert many >= spread / math.sqrt(num_folds - 1) - 1e-12


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=10, unique=True), st.integers(2, 10), st.randoms())
def test_the_order_of_folds_does_not_matter_and_the_mean_is_inside(differences, num_folds, random):
    found = corrected_resampled_t(differences, num_folds)
    assert found.interval[0] <= found.mean <= found.interval[1]
    random.shuffle(differences)
    again = corrected_resampled_t(differences, num_folds)
    np.testing.assert_allclose(
        [again.mean, *again.interval, again.p], [found.mean, *found.interval, found.p], 1e-6, 1e-9
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.randoms())
def test_the_order_of_tests_does_not_matter(values, random):
    order = list(range(len(values)))
    random.shuffle(order)
    np.testing.assert_allclose(holm([values[i] for i in order]), holm(values)[order])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_mcnemar_is_a_binomial_test_of_the_rows_that_differ(rows):
    first, second = [a for a, _ in rows], [b for _, b in rows]
    found = mcnemar(first, second)
    only_first, only_second = sum(a and not b for a, b in rows), sum(b and not a for a, b in rows)
    total = only_first + only_second
    expected = stats.binomtest(only_first, total).pvalue if total else 1.0
    assert found == (only_first, only_second, pytest.approx(expected))
    assert mcnemar(second, first) == (only_second, only_first, pytest.approx(found.p))


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([1, 0], [1], r"lists of one length, got shapes \(2,\) and \(1,\)"),
        ([[1]], [[0]], r"got shapes \(1, 1\) and \(1, 1\)"),
        ([0.5], [1], "True where a configuration was right"),
    ],
)
def test_rows_that_cannot_be_paired_are_refused(first, second, message):
    with pytest.raises(DataError, match=message):
        mcnemar(first, second)


def test_holm_steps_down():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_tests_that_were_not_made_do_not_count():
    np.testing.assert_allclose(holm([0.02, np.nan, 0.5]), [0.04, np.nan, 0.5])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_lies_between_the_values_and_bonferroni(values):
    adjusted = holm(values)
    assert (adjusted >= np.asarray(values)).all()
    assert (adjusted <= np.minimum(1, len(values) * np.asarray(values)) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(values, kind="stable")]) >= 0).all()


@pytest.mark.parametrize("values", [[1.2], [-0.1, 0.5], [[0.1]]])
def test_what_is_no_p_value_is_refused(values):
    with pytest.raises(DataError, match="list of p-values between 0 and 1, got"):
        holm(values)


def shortfalls(means, spread=0.02, num_folds=5):
    """Lines of differences with these means; the best's, of mean 0, is without spread."""
    wave = spread * np.array([1.0, -1.0, 0.5, -0.5, 0.0])[:num_folds]
    return [[0.0] * num_folds if mean == 0 else mean + wave for mean in means]


def test_the_cheapest_within_one_error_is_chosen():
    error = corrected_error(shortfalls([0.1])[0], 5)
    lines = shortfalls([0, 0.99 * error, 1.01 * error])
    assert one_standard_error(lines, [3, 2, 1], 5) == 1
    assert one_standard_error(lines, [1, 2, 3], 5) == 0


def test_the_uncorrected_error_would_choose_otherwise():
    values = np.asarray(shortfalls([0.01])[0])
    plain = values.std(ddof=1) / math.sqrt(5)
    lines = [np.zeros(5), values - values.mean() + 1.2 * plain]
    assert one_standard_error(lines, [2, 1], 5) == 1


def test_of_equal_costs_the_better_is_chosen_and_then_the_first():
    lines = shortfalls([0.002, 0, 0.001])
    assert one_standard_error(lines, [1, 1, 1], 5) == 1
    assert one_standard_error([np.zeros(3), np.zeros(3)], [1, 1], 3) == 0


def test_equal_scores_everywhere_choose_the_cheapest():
    assert one_standard_error(np.zeros((3, 4)), [3, 1, 2], 4) == 1


@pytest.mark.parametrize(
    ("lines", "costs", "message"),
    [
        (np.zeros((2, 3)), [1], r"got shape \(2, 3\) and costs \[1\.0\]"),
        (np.zeros(3), [1, 2, 3], r"got shape \(3,\)"),
        (np.zeros((1, 2)), [math.nan], "m finite costs"),
        ([[0.5, 0.5]], [1], r"mean shortfalls \[0\.5\].*line of zeros"),
        ([[0.0]], [1], "two or more fold differences"),
    ],
)
def test_configurations_that_cannot_be_compared_are_refused(lines, costs, message):
    with pytest.raises(DataError, match=message):
        one_standard_error(lines, costs, 5)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_mcnemar_with_one_side_is_the_binomial_test(rows):
    first, second = np.array(rows).T
    both = {side: mcnemar(first, second, alternative=side) for side in ("greater", "less")}
    gained, lost, _ = both["greater"]
    for side, test in both.items():
        wanted = stats.binomtest(gained, gained + lost, alternative=side).pvalue if gained + lost else 1.0
        assert test.p == pytest.approx(wanted)


def test_mcnemar_refuses_another_alternative():
    with pytest.raises(ConfigError, match="'two-sided', 'greater' or 'less', got 'better'"):
        mcnemar([1], [0], alternative="better")
