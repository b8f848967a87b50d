import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize_scalar

from hf_transfer.errors import ConfigError, DataError
from hf_transfer.scores.statistics import (
    apply_temperature,
    calibration_floor,
    classwise_calibration_error,
    expected_calibration_error,
    fit_temperature,
    reliability,
)


def calibrated(num_rows, num_classes=3, seed=0):
    """Logits, and labels that were drawn with the probabilities of these logits."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=1.5, size=(num_rows, num_classes))
    totals = apply_temperature(logits, 1).cumsum(axis=1)
    return logits, (rng.random((num_rows, 1)) > totals[:, :-1]).sum(axis=1)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("num_classes", [2, 5])
def test_the_factor_of_the_logits_is_found(factor, num_classes):
    logits, labels = calibrated(60_000, num_classes)
    assert fit_temperature(factor * logits, labels) == pytest.approx(factor, rel=0.02)


def test_a_temperature_multiplies_with_the_logits():
    logits, labels = calibrated(300)
    assert fit_temperature(3 * logits, labels) == pytest.approx(3 * fit_temperature(logits, labels), rel=1e-6)


def test_no_other_temperature_has_a_lower_loss():
    logits, labels = calibrated(400, seed=3)
    logits[:, 0] *= 4  # not a matter of one temperature any more

    def loss(log_temperature):  # with an imagined row of all classes alike beside the 400
        logs = np.log(apply_temperature(logits, np.exp(log_temperature)))
        return -(400 * logs[np.arange(400), labels] + logs.mean(axis=1)).mean()

    best = minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9})
    assert fit_temperature(logits, labels) == pytest.approx(np.exp(best.x), rel=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    arrays(float, (12, 3), elements=st.floats(-30, 30)),
    st.lists(st.integers(0, 2), min_size=10, max_size=10),
)
def test_predictions_stay_and_the_temperature_stays_in_its_bounds(logits, labels):
    temperature = fit_temperature(logits, np.array([0, 1, *labels]))
    shares = apply_temperature(logits, temperature)
    assert 0.05 * (1 - 1e-6) <= temperature <= 20 * (1 + 1e-6)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    # Where two logits differ by rounding only, so may their order after a division.
    assert (np.take_along_axis(logits, shares.argmax(axis=1)[:, None], 1)[:, 0] >= logits.max(1) - 1e-9).all()


def test_rows_that_are_all_wrong_meet_the_bound():
    assert fit_temperature([[0.0, 1.0], [1.0, 0.0]], [0, 1]) == pytest.approx(20)


@pytest.mark.parametrize("num_rows", [2, 20, 200])
def test_rows_that_are_all_right_are_believed_as_far_as_their_number_goes(num_rows):
    logits = np.array([[1.0, 0.0], [0.0, 1.0]] * (num_rows // 2))
    shares = apply_temperature(logits, fit_temperature(logits, logits.argmax(1)))
    assert shares.max(axis=1) == pytest.approx((num_rows + 0.5) / (num_rows + 1), abs=1e-6)


def test_logits_that_say_nothing_are_left_alone():
    assert fit_temperature(np.full((4, 2), 7.0), [0, 1, 0, 1]) == 1


def test_bins_hold_as_many_rows_each():
    logits, labels = calibrated(150)
    bins = reliability(apply_temperature(logits, 1), labels, num_bins=15)
    assert bins.count.tolist() == [10] * 15
    assert (np.diff(bins.confidence) > 0).all()


def test_the_error_of_bins_counted_by_hand():
    shares = [[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.45, 0.55]]
    assert reliability(shares, [0, 1, 1, 1], num_bins=2).accuracy.tolist() == [1.0, 0.5]
    assert expected_calibration_error(shares, [0, 1, 1, 1], num_bins=2) == pytest.approx(
        (2 * (1 - 0.575) + 2 * (0.85 - 0.5)) / 4
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 4), st.integers(1, 30), st.integers(1, 20), st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(num_classes, num_rows, num_bins, seed):
    rng = np.random.default_rng(seed)
    shares = rng.integers(1, 4, (num_rows, num_classes)).astype(float)  # with ties
    shares /= shares.sum(axis=1, keepdims=True)
    labels, order = rng.integers(0, num_classes, num_rows), rng.permutation(num_rows)
    for error in (expected_calibration_error, classwise_calibration_error):
        assert error(shares, labels, num_bins) == pytest.approx(error(shares[order], labels[order], num_bins))
        assert 0 <= error(shares, labels, num_bins) <= 1
    assert reliability(shares, labels, num_bins).count.sum() == num_rows


def test_the_classwise_error_sees_what_the_top_one_hides():
    # Class 0 is always predicted and as often right as claimed; the other two are mistaken for each other.
    shares = np.tile([0.5, 0.4, 0.1], (20, 1))
    labels = np.array([0] * 10 + [1] * 2 + [2] * 8)
    assert expected_calibration_error(shares, labels) == pytest.approx(0)
    assert classwise_calibration_error(shares, labels) == pytest.approx((0 + 0.3 + 0.3) / 3)


def test_what_perfect_probabilities_show_by_chance_shrinks_with_the_rows():
    errors, floors = [], []
    for n in (60, 6000):
        logits, labels = calibrated(n, seed=n)
        shares = apply_temperature(logits, 1)
        errors.append(expected_calibration_error(shares, labels))
        floors.append(calibration_floor(shares, seed=0))
    assert floors[0] > 0.1 > 0.02 > floors[1]
    np.testing.assert_allclose(errors, floors, rtol=0.5)


def test_probabilities_that_are_too_sure_lie_above_the_floor():
    logits, labels = calibrated(600)
    shares = apply_temperature(3 * logits, 1)
    assert expected_calibration_error(shares, labels) > 3 * calibration_floor(shares, seed=0)


SHARES = [[0.5, 0.5], [0.2, 0.8]]


@pytest.mark.parametrize(
    ("shares", "labels", "message"),
    [
        (np.zeros((0, 2)), [], r"shape \(n, c\) with c of 2 or more, got shape \(0, 2\)"),
        ([[1.0], [1.0]], [0, 0], r"got shape \(2, 1\)"),
        ([[0.5, 0.5], [2.0, 3.0]], [0, 1], r"Row 1 holds \[2\.0, 3\.0\].*apply_temperature"),
        ([[0.5, 0.5], [np.nan, 1.0]], [0, 1], r"Row 1 holds \[nan, 1\.0\]"),
        (SHARES, [0, 2], "class ids from 0 to 1, got 0 to 2"),
        (SHARES, [0], r"each of 2 rows, got shape \(1,\)"),
        (SHARES, [0.0, 1.0], "of float64"),
    ],
)
@pytest.mark.parametrize("function", [expected_calibration_error, classwise_calibration_error, reliability])
def test_what_is_not_calibrated_at_all_is_refused(function, shares, labels, message):
    with pytest.raises(DataError, match=message):
        function(shares, labels)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((0, 2)), [], r"logits of shape \(n, c\).* got shape \(0, 2\)"),
        ([[1.0, 0.0]] * 3, [1, 1, 1], "two or more classes, got 3 of class 1"),
        ([[np.inf, 0.0]], [0], r"must be finite, got \[inf, 0\.0\] in row 0"),
        ([[1.0, 0.0]] * 2, [0, 2], "class ids from 0 to 1, got 0 to 2"),
    ],
)
def test_no_temperature_for_rows_that_have_none(logits, labels, message):
    with pytest.raises(DataError, match=message):
        fit_temperature(logits, labels)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: expected_calibration_error(SHARES, [0, 1], 0), "num_bins must be 1 or more, got 0"),
        (lambda: calibration_floor(SHARES, num_draws=0, seed=0), "num_draws must be 1 or more, got 0"),
        (lambda: apply_temperature(SHARES, 0), "temperature must be above 0, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
