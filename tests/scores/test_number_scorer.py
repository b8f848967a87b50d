import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from scored_tables import floats, number_predictions
from sklearn import metrics as sk

from hf_transfer.errors import ConfigError, DataError
from hf_transfer.scores import number_metrics
from hf_transfer.scores.number_scorer import NumberScorer
from hf_transfer.scores.over_folds import score_folds, summarise

SCORER = NumberScorer(["stars"])
cases = st.tuples(st.integers(3, 40), st.integers(1, 4), st.integers(0, 2**32), st.booleans())


def table_of(case, num_folds=None, num_repeats=1):
    num_rows, folds, seed, whole = case
    return number_predictions(num_rows, num_folds=num_folds or folds, seed=seed, whole=whole)


@settings(max_examples=40, deadline=None)
@given(cases)
def test_a_fold_is_scored_as_scikit_learn_and_scipy_do(case):
    table = table_of(case, num_folds=1)
    label, prediction = (table[name].to_numpy() for name in ("label", "prediction"))
    assume(np.ptp(label) > 0 and np.ptp(prediction) > 0)
    assert SCORER.score(table) == pytest.approx(
        {
            "mae": sk.mean_absolute_error(label, prediction),
            "rmse": sk.root_mean_squared_error(label, prediction),
            "r_squared": sk.r2_score(label, prediction),
            "pearsonr": stats.pearsonr(label, prediction).statistic,
            "spearmanr": stats.spearmanr(label, prediction).statistic,
        },
        abs=1e-9,
    )


@settings(max_examples=40, deadline=None)
@given(cases)
def test_weights_count_rows_as_often_as_they_say(case):
    table = table_of(case, num_folds=1)
    weights = np.random.default_rng(case[2]).integers(0, 3, (1, table.num_rows))
    weights[0, 0] += 1
    repeated = table.take(np.repeat(np.arange(table.num_rows), weights[0]))
    resampled = {name: values[0] for name, values in SCORER.resampled(table, weights).items()}
    assert resampled == pytest.approx(floats(SCORER.score(repeated)), nan_ok=True, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(cases)
def test_errors_are_pooled_and_the_rest_is_averaged_over_folds(case):
    table = table_of(case)
    folds, pooled = score_folds(table, SCORER).values(), SCORER.pooled(table)
    error = table["prediction"].to_numpy() - table["label"].to_numpy()
    assert pooled["mae"] == pytest.approx(np.abs(error).mean())
    assert pooled["rmse"] == pytest.approx(np.sqrt((error**2).mean()))
    for name in ("r_squared", "pearsonr", "spearmanr"):
        known = [scores[name] for scores in folds if scores[name] is not None]
        assert floats(pooled)[name] == pytest.approx(np.mean(known) if known else np.nan, nan_ok=True)


@settings(max_examples=30, deadline=None)
@given(cases, st.floats(-5, 5))
def test_a_constant_explains_nothing(case, constant):
    table = table_of(case).drop_columns("prediction")
    table = table.append_column("prediction", pa.array(np.full(table.num_rows, constant)))
    scores = SCORER.pooled(table)
    assert scores["r_squared"] is None or scores["r_squared"] <= 1e-9
    assert scores["pearsonr"] is None
    assert scores["spearmanr"] is None


@settings(max_examples=30, deadline=None)
@given(cases, st.floats(0.01, 100), st.floats(-100, 100))
def test_another_unit_changes_errors_by_its_size_and_nothing_else(case, size, start):
    table = table_of(case)
    other = table
    for name in ("label", "prediction"):
        place = table.column_names.index(name)
        other = other.set_column(place, name, pa.array(table[name].to_numpy() * size + start))
    scores, moved = floats(SCORER.pooled(table)), floats(SCORER.pooled(other))
    expected = scores | {name: scores[name] * size for name in ("mae", "rmse")}
    assert moved == pytest.approx(expected, nan_ok=True, rel=1e-6, abs=1e-6)


def test_intervals_stay_within_what_a_score_can_be():
    table = number_predictions(60, num_folds=3, num_repeats=2, seed=1, noise=3.1)
    found = summarise(list(score_folds(table, SCORER).values()), table, SCORER, seed=0)
    for name, score in found.items():
        low, high = SCORER.range_of(name)
        for interval in (score.interval, score.conservative_interval):
            assert low <= interval[0] <= interval[1] <= high
    assert found["rmse"].interval[0] > 1  # an error has no upper bound
    assert found["rmse"].conservative_interval[0] < found["rmse"].mean


def test_equal_labels_have_no_r_squared_and_no_correlation():
    assert number_metrics.r_squared(np.full(3, 0.1), np.array([0.1, 0.2, 0.3])) == {"r_squared": None}
    assert number_metrics.pearson(np.full(3, 0.1), np.array([0.1, 0.2, 0.3])) == {"pearsonr": None}


@pytest.mark.parametrize(("number", "drawn"), [(1, 1), (3, 3), (7, 6)])
def test_a_picture_shows_true_numbers_and_then_predicted_ones_of_some_rows(number, drawn):
    label, prediction = np.random.default_rng(0).normal(size=(2, 1500, number))
    columns = {"label": label, "prediction": prediction}
    plain = {name: values[:, 0] if number == 1 else values.tolist() for name, values in columns.items()}
    found = NumberScorer([f"n{i}" for i in range(number)]).scatter(pa.table(plain))
    assert len(found) == 1000
    rows = {tuple(row) for row in np.hstack([label[:, :drawn], prediction[:, :drawn]]).tolist()}
    assert {tuple(row) for row in found} <= rows
    firsts = [row[0] for row in found]
    assert firsts == sorted(firsts)
    assert (firsts[0], firsts[-1]) == (label[:, 0].min(), label[:, 0].max())


def test_what_is_no_number_is_refused():
    table = number_predictions(4, num_folds=1)
    nan = table.set_column(3, "label", pa.array([1.0, float("nan"), 2.0, 3.0]))
    with pytest.raises(DataError, match=r"label holds nan in row 1\. Numbers must be finite"):
        SCORER.score(nan)
    with pytest.raises(ConfigError, match="Numbers have different names, one each, got a, a"):
        NumberScorer(["a", "a"])
