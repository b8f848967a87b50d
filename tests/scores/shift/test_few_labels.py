import numpy as np
import pytest
from scipy.stats import binom, binomtest

from hf_transfer.scores.shift.few_labels import exact_interval, prediction_powered


@pytest.mark.parametrize(("num_right", "num_rows"), [(0, 30), (1, 30), (20, 30), (29, 30), (30, 30), (1, 1)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_exact_interval_is_that_of_scipy(num_right, num_rows, level):
    wanted = binomtest(num_right, num_rows).proportion_ci(level, "exact")
    assert exact_interval(num_right, num_rows, level) == pytest.approx((wanted.low, wanted.high), abs=1e-9)


@pytest.mark.parametrize("accuracy", [0.05, 0.31, 0.5, 0.72, 0.97])
def test_the_exact_interval_covers_what_it_says(accuracy):
    covers = [low <= accuracy <= high for low, high in (exact_interval(k, 30) for k in range(31))]
    assert binom.pmf(np.arange(31), 30, accuracy)[covers].sum() >= 0.95


def drawn(seed, number=30, others=400, *, knows=0.3):
    """Which of some rows are right, and how sure a model is of them and of others."""
    rng = np.random.default_rng(seed)
    right = rng.random(number + others) < 0.7
    sure = np.clip(0.5 + knows * right + 0.1 * rng.normal(size=len(right)), 0, 1)
    return right[:number], sure[:number], sure[number:]


# What ppi-python 0.2.3 gave for `drawn(0)` and `drawn(1, 100)`.
GOLDEN = {(0, 30): (0.4955601409, 0.7310163783), (1, 100): (0.6164630116, 0.7563076515)}


@pytest.mark.parametrize(("seed", "number"), GOLDEN)
def test_the_powered_interval_is_that_of_ppi_python(seed, number):
    found = prediction_powered(*drawn(seed, number))
    assert found.interval == pytest.approx(GOLDEN[seed, number], abs=1e-6)
    assert found.interval[0] < found.accuracy < found.interval[1]


@pytest.mark.parametrize("seed", range(5))
def test_so_it_is_where_that_is_installed(seed):
    ppi = pytest.importorskip("ppi_py")
    right, sure, others = drawn(seed)
    low, high = ppi.ppi_mean_ci(right.astype(float), sure, others, alpha=0.05)
    assert prediction_powered(right, sure, others).interval == pytest.approx((low[0], high[0]), abs=1e-9)


def width(found):
    return found.interval[1] - found.interval[0]


def test_a_model_that_knows_when_it_is_right_narrows_the_interval():
    right, sure, others = drawn(3)
    plain = prediction_powered(right, np.full(30, 0.7), np.full(400, 0.7))
    assert (plain.weight, plain.accuracy) == (0, pytest.approx(right.mean()))
    assert width(prediction_powered(right, sure, others)) < 0.8 * width(plain)
    assert prediction_powered(right, sure, np.array([])).weight == 0


@pytest.mark.parametrize("knows", [0.0, 0.3, -0.3])
def test_it_covers_the_accuracy_however_little_the_model_knows(knows):
    found = [prediction_powered(*drawn(seed, 100, knows=knows)).interval for seed in range(200)]
    assert np.mean([low <= 0.7 <= high for low, high in found]) >= 0.9
