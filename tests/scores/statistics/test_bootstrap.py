import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_transfer.errors import ConfigError, DataError
from hf_transfer.scores.statistics import bootstrap, bootstrap_interval


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
    monkeypatch.setattr(bootstrap, "CHUNK", 400 * 7)
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


def test_a_difference_has_the_interval_of_its_own_values():
    rng = np.random.default_rng(4)
    first, second = (rng.random(300) < 0.8).astype(float), (rng.random(300) < 0.7).astype(float)

    def scores(weights):
        a, b = (mean_of(values)(weights)["mean"] for values in (first, second))
        return {"first": a, "second": b, "difference": a - b}

    found = bootstrap_interval(scores, np.arange(300) % 5, seed=0)
    alone = bootstrap_interval(mean_of(first - second), np.arange(300) % 5, seed=0)["mean"]
    assert found["difference"] == pytest.approx(alone)
    assert found["first"] == pytest.approx(
        bootstrap_interval(mean_of(first), np.arange(300) % 5, seed=0)["mean"]
    )


def test_a_difference_of_a_configuration_to_itself_has_no_width(hits):
    def scores(weights):
        score = mean_of(hits)(weights)["mean"]
        return {"score": score, "difference": score - mean_of(hits)(weights)["mean"]}

    found = bootstrap_interval(scores, np.arange(400) % 5, seed=0)
    assert found["difference"] == (0, 0)
    assert found["score"][1] - found["score"][0] > 0.05


def r_squared_within(true, guessed, folds):
    """R² of each fold, averaged, for weights (b, n)."""

    def of_fold(weights, inside):
        weights, labels, guesses = weights[:, inside], true[inside], guessed[inside]
        mean = (weights @ labels / weights.sum(axis=1))[:, None]
        return 1 - (weights @ (labels - guesses) ** 2) / (weights * (labels - mean) ** 2).sum(axis=1)

    return lambda weights: {"r2": np.mean([of_fold(weights, folds == f) for f in np.unique(folds)], axis=0)}


@pytest.mark.parametrize("seed", range(5))
def test_an_interval_holds_the_score_that_resampling_shifts(seed):
    rng = np.random.default_rng(seed)
    true, folds = rng.normal(size=300), np.arange(300) % 30
    statistic = r_squared_within(true, 0.3 * rng.normal(size=300), folds)
    estimate = statistic(np.ones((1, 300)))["r2"][0]
    shifts = np.concatenate([statistic(w)["r2"] for w in bootstrap.Strata.of(folds, None).resamples(200, 0)])
    assert np.quantile(shifts, 0.9) < estimate  # what the interval would be without
    low, high = bootstrap_interval(statistic, folds, seed=0)["r2"]
    assert low < estimate < high <= 1


def test_a_shift_does_not_take_an_interval_out_of_the_range_of_its_score():
    def area(weights):
        return {"area": np.where((weights == 1).all(axis=1), 0.9, 1.0)}

    low, high = bootstrap_interval(area, np.arange(30) % 3, seed=0)["area"]
    assert 0.9 <= low <= high <= 1.0
