import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from hf_transfer import statistics
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.statistics import bootstrap_interval, corrected_resampled_t, divide, mean_defined, roc_curves


def mean_of(values):
    return lambda weights: {"mean": weights @ values / weights.sum(axis=1)}


@pytest.fixture
def hits():
    return (np.random.default_rng(0).random(400) < 0.85).astype(float)


def test_interval_of_accuracy_is_close_to_the_binomial_one(hits):
    low, high = bootstrap_interval(mean_of(hits), np.arange(400) % 5, seed=0)["mean"]
    mean = hits.mean()
    margin = 1.96 * math.sqrt(mean * (1 - mean) / 400)
    assert low == pytest.approx(mean - margin, abs=0.006)
    assert high == pytest.approx(mean + margin, abs=0.006)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(7)
    covered = 0
    for draw in range(150):
        hits = (rng.random(120) < 0.8).astype(float)
        low, high = bootstrap_interval(mean_of(hits), np.arange(120) % 4, num_resamples=300, seed=draw)[
            "mean"
        ]
        covered += low <= 0.8 <= high
    assert 0.88 <= covered / 150 <= 1.0


def test_groups_give_wider_intervals_than_rows_on_clustered_data():
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(40), 10)
    hits = np.repeat((rng.random(40) < 0.8).astype(float), 10)
    folds = groups % 5
    rows = bootstrap_interval(mean_of(hits), folds, seed=0)["mean"]
    grouped = bootstrap_interval(mean_of(hits), folds, units=groups, seed=0)["mean"]
    assert grouped[1] - grouped[0] > 2 * (rows[1] - rows[0])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(0, 2**32))
def test_resampling_keeps_the_size_of_each_fold(folds, seed):
    def check(weights):
        for fold in set(folds):
            inside = np.asarray(folds) == fold
            assert (weights[:, inside].sum(axis=1) == inside.sum()).all()
        return {}

    bootstrap_interval(check, folds, num_resamples=20, seed=seed)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.integers(0, 2**32))
def test_rows_of_a_unit_are_drawn_together(units, seed):
    def check(weights):
        for unit in set(units):
            together = weights[:, np.asarray(units) == unit]
            assert (together == together[:, :1]).all()
        return {}

    bootstrap_interval(check, np.zeros(len(units)), units=units, num_resamples=20, seed=seed)


def test_chunks_do_not_change_the_interval(hits, monkeypatch):
    whole = bootstrap_interval(mean_of(hits), np.arange(400) % 5, seed=3)
    monkeypatch.setattr(statistics, "CHUNK", 400 * 7)
    assert bootstrap_interval(mean_of(hits), np.arange(400) % 5, seed=3) == whole


def test_same_seed_same_interval(hits):
    first, again, other = (bootstrap_interval(mean_of(hits), np.zeros(400), seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_order_of_rows_does_not_change_the_interval(hits):
    order = np.random.default_rng(2).permutation(400)
    ids = np.arange(400)
    folds = ids % 5
    straight = bootstrap_interval(mean_of(hits), folds, units=ids, seed=0)["mean"]
    shuffled = bootstrap_interval(mean_of(hits[order]), folds[order], units=ids[order], seed=0)["mean"]
    assert shuffled == pytest.approx(straight)


def test_undefined_resamples_are_dropped():
    values = np.where(np.arange(40) % 2, 1.0, 0.0)

    def statistic(weights):
        means = weights @ values / 40
        return {"some": np.where(np.arange(len(means)) % 3 == 0, np.nan, means), "most": means * np.nan}

    intervals = bootstrap_interval(statistic, np.zeros(40), seed=0)
    assert intervals["most"] is None
    assert 0.2 < intervals["some"][0] < 0.5 < intervals["some"][1] < 0.8


def test_folds_of_one_unit_have_no_interval():
    values = np.arange(6.0)
    assert bootstrap_interval(mean_of(values), np.arange(6) // 2, units=np.arange(6) // 2, seed=0) == {
        "mean": None
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_resamples": 0}, "num_resamples must be 1 or more, got 0"),
        ({"level": 95}, "level must lie between 0 and 1, such as 0.95, got 95"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        bootstrap_interval(mean_of(np.ones(3)), np.zeros(3), **{"seed": 0, **settings})


@pytest.mark.parametrize(("folds", "units"), [([], None), ([0, 0], [1])])
def test_each_row_needs_a_unit(folds, units):
    with pytest.raises(DataError, match=f"got {len(folds)} folds and {len(units or folds)} units"):
        bootstrap_interval(mean_of(np.ones(2)), folds, units=units, seed=0)


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
        ([0.1, 0.2], 1, ConfigError, "num_folds must be 2 or more, got 1"),
    ],
)
def test_differences_that_cannot_be_tested_are_refused(differences, num_folds, error, message):
    with pytest.raises(error, match=message):
        corrected_resampled_t(differences, num_folds)


def test_level_of_the_t_interval_is_checked():
    with pytest.raises(ConfigError, match=r"level must lie between 0 and 1, such as 0\.95, got 1"):
        corrected_resampled_t([0.1, 0.2], 5, level=1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 3)), min_size=2, max_size=30))
def test_area_of_weighted_rows_is_that_of_repeated_rows(rows):
    positive, scores, weights = (np.asarray(column) for column in zip(*rows, strict=True))
    labels, probabilities = positive.astype(np.int64), np.stack([-scores, scores], axis=1).astype(float)
    curves = roc_curves(np.arange(len(rows)), labels, probabilities)
    repeated = np.repeat(np.arange(len(rows)), weights)
    if len(np.unique(labels[repeated])) < 2:
        assert all(np.isnan(curve.area(weights[None].astype(float))).all() for curve in curves)
    else:
        expected = roc_auc_score(labels[repeated], scores[repeated])
        assert curves[0].area(weights[None].astype(float))[0] == pytest.approx(expected)


def test_undefined_values_are_left_out_of_a_mean():
    means = mean_defined([np.array([1.0, np.nan, np.nan]), np.array([3.0, 5.0, np.nan])])
    np.testing.assert_array_equal(means, [2.0, 5.0, np.nan])


def test_nothing_divided_by_nothing_is_undefined():
    np.testing.assert_array_equal(divide(np.array([0.0, 1.0]), np.array([0.0, 2.0])), [np.nan, 0.5])


def test_importing_statistics_imports_no_heavy_package():
    heavy = "{'torch', 'evaluate', 'sklearn'}"
    code = f"import sys, hf_transfer.statistics; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
