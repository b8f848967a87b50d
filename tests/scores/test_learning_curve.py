import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_transfer.errors import DataError
from hf_transfer.scores import learning_curve
from hf_transfer.scores.learning_curve import fit_law, read_curve, verdict

ROWS = np.array([24.0, 48, 96, 192, 240])


def law(rows, rest: float = 0.1, factor: float = 2.0, decay: float = 0.6):
    return 1 - rest - factor * np.asarray(rows, float) ** -decay


def scores(noise: float, seed: int = 0, num_folds: int = 5, **of_law) -> np.ndarray:
    rng = np.random.default_rng(seed)
    hard = rng.normal(scale=0.03, size=num_folds)  # a fold may be harder than another at every size
    return law(ROWS, **of_law)[:, None] + hard + rng.normal(scale=noise, size=(len(ROWS), num_folds))


@settings(max_examples=40, deadline=None)
@given(st.floats(0.01, 0.4), st.floats(0.2, 3.0), st.floats(0.2, 1.5))
def test_a_law_without_noise_is_found_again(rest, factor, decay):
    found = fit_law(ROWS, law(ROWS, rest, factor, decay))
    assert found.score(ROWS) == pytest.approx(law(ROWS, rest, factor, decay), abs=3e-3 * factor)
    true = law(480, rest, factor, decay) - law(240, rest, factor, decay)
    assert found.gain(240) == pytest.approx(true, abs=2e-3 * factor)
    assert found.score(480) - found.score(240) == pytest.approx(found.gain(240))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=5, max_size=5))
def test_whatever_the_scores_more_rows_do_no_harm_and_nothing_is_above_perfect(values):
    found = fit_law(ROWS, np.asarray(values))
    assert found.gain(240) >= 0
    assert found.score(1e9) <= 1 + 1e-9
    loss = fit_law(ROWS, np.asarray(values), higher_is_better=False)
    assert loss.gain(240) >= 0
    assert loss.score(1e9) >= -1e-9


def test_a_loss_is_a_score_upside_down():
    table = scores(0.005)
    up = read_curve(ROWS, table, num_folds=5)
    down = read_curve(ROWS, 1 - table, num_folds=5, higher_is_better=False)
    assert down.doubling.gain == pytest.approx(up.doubling.gain)
    assert down.doubling.interval == pytest.approx(up.doubling.interval)
    assert (down.fit.a, down.fit.b) == pytest.approx((1 - up.fit.a, -up.fit.b))


@pytest.mark.slow
def test_the_interval_holds_the_true_gain_about_as_often_as_it_says(monkeypatch):
    monkeypatch.setattr(learning_curve, "_RESAMPLES", 200)
    monkeypatch.setattr(learning_curve, "_DECAYS", learning_curve._DECAYS[::6])
    true = law(480) - law(240)
    intervals = [read_curve(ROWS, scores(0.02, seed), num_folds=5).doubling for seed in range(100)]
    known = [found.interval for found in intervals if found]
    held = [low <= true <= high for low, high in known]
    assert len(known) >= 95
    assert np.mean(held) >= 0.9
    assert np.mean([high - low for low, high in known]) < 0.05


def test_the_interval_is_wider_for_folds_that_share_more_rows():
    widths = [np.diff(read_curve(ROWS, scores(0.01), num_folds=k).doubling.interval)[0] for k in (2, 5, 50)]
    assert widths[0] > widths[1] > widths[2]


def test_a_fold_without_all_its_scores_is_left_out():
    whole, partly = scores(0.01), np.column_stack([scores(0.01), [0.1, np.nan, 0.1, 0.1, 0.1]])
    assert read_curve(ROWS, partly, num_folds=6) == read_curve(ROWS, whole, num_folds=6)


@pytest.mark.parametrize(
    ("rows", "table", "reason"),
    [
        (ROWS, scores(0.01)[:, :2], "2 folds have a score of every size, of 3 needed"),
        (ROWS[[0, 0, 0, 1, 2]], scores(0.01), "3 sizes only, of 4 needed"),
        (ROWS, scores(0.001) * np.array([[1, 1.3, 0.8, 1, 1]]).T, "do not follow a curve"),
        (ROWS, scores(0.001)[::-1], "do not follow a curve"),
    ],
)
def test_what_does_not_fit_is_said(rows, table, reason):
    found = read_curve(rows, table, num_folds=5)
    assert found.doubling is None
    assert found.fit is None
    assert reason in found.reason
    assert verdict(found, "accuracy").startswith("It can't be told what twice the data would give: ")
    assert reason in verdict(found, "accuracy")


def test_verdicts_in_words():
    rising = read_curve(ROWS, scores(0.003), num_folds=5)
    gain, (low, high) = rising.doubling.gain, rising.doubling.interval
    assert low < gain < high
    assert verdict(rising, "accuracy") == (
        f"Twice the data would give about +{gain:.3f} accuracy ({low:.3f} to {high:.3f})."
    )
    flat = read_curve(ROWS, np.full((5, 5), 0.9), num_folds=5)
    assert verdict(flat, "f1") == (
        "No more gain is to be seen: twice the data would give +0.000 f1 (0.000 to 0.000)."
    )
    unclear = read_curve(ROWS, scores(0.05, factor=0.3), num_folds=5)
    assert verdict(unclear, "f1").startswith("It can't be told with this much data")


@pytest.mark.parametrize(
    ("rows", "table"), [(ROWS, np.zeros((4, 5))), (ROWS, np.zeros(5)), (-ROWS, np.zeros((5, 5)))]
)
def test_shapes_that_do_not_match_are_an_error(rows, table):
    with pytest.raises(DataError, match=r"Expected sizes above 0, \(s,\), and scores"):
        read_curve(rows, table, num_folds=5)
