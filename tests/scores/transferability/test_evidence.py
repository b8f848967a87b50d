import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import ortho_group
from sklearn.linear_model import BayesianRidge

from hf_transfer.errors import DataError
from hf_transfer.scores.transferability import log_me


def drawn(n, d, seed=0, classes=3):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, d))
    return features, (features[:, 0] + 0.5 * rng.normal(size=n) > 0).astype(int) + np.arange(n) % (
        classes - 1
    )


def test_golden_numbers():
    found = log_me(np.array([[1.0]] * 4 + [[-1.0]] * 4), [0] * 4 + [1] * 4)
    assert found.score == pytest.approx(-0.9141764, abs=5e-8)
    assert found.gain == pytest.approx(0.1581885, abs=5e-8)
    # The posterior mean sum(F * y) / (8 + t) = 4 / (8 + t) is 3 / 7 of 1 at the maximum, so t = 4 / 3.
    assert found.penalties == pytest.approx([4 / 3] * 2, rel=1e-5)


@pytest.mark.parametrize(("n", "d"), [(60, 7), (200, 32), (80, 200), (40, 768)])
def test_it_is_the_highest_density_over_both_precisions(n, d):
    features, labels = drawn(n, d, classes=2)
    target = (labels == 1).astype(float)

    gram = features @ features.T

    def minus_density(log_precisions):
        prior, noise = np.exp(log_precisions)
        covariance = np.eye(n) / noise + gram / prior
        quadratic = target @ np.linalg.solve(covariance, target)
        return 0.5 * (n * np.log(2 * np.pi) + np.linalg.slogdet(covariance)[1] + quadratic) / n

    options = {"xatol": 1e-6, "fatol": 1e-10, "maxiter": 500}
    bounds = [(-20, 20)] * 2
    best = min(
        minimize(minus_density, start, method="Nelder-Mead", bounds=bounds, options=options).fun
        for start in ((0.0, 2.0), (6.0, 2.0))
    )
    assert log_me(features, target).score == pytest.approx(-best, abs=1e-6)


@pytest.mark.parametrize(("n", "d"), [(100, 8), (60, 30)])
def test_it_is_the_evidence_of_bayesian_ridge(n, d):
    features, labels = drawn(n, d, classes=2)
    target = labels - 0.3
    none = dict.fromkeys(("alpha_1", "alpha_2", "lambda_1", "lambda_2"), 0.0)
    ridge = BayesianRidge(fit_intercept=False, compute_score=True, max_iter=5000, tol=1e-12, **none)
    evidence = ridge.fit(features, target).scores_[-1] / n
    assert log_me(features, target).score == pytest.approx(evidence, abs=1e-6)


@given(st.integers(0, 10_000), st.floats(1e-3, 1e3), st.sampled_from([(30, 5), (20, 40)]))
@settings(deadline=None, max_examples=20)
def test_neither_scale_nor_rotation_nor_empty_columns_change_it(seed, scale, shape):
    features, labels = drawn(*shape, seed)
    rotation = ortho_group.rvs(shape[1], random_state=seed)
    plain = log_me(features, labels)
    assert log_me(scale * features @ rotation, labels).score == pytest.approx(plain.score, abs=1e-7)
    padded = np.concatenate([features, np.zeros((len(features), 50))], axis=1)
    assert log_me(padded, labels).score == pytest.approx(plain.score, abs=1e-9)


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=20)
def test_the_gain_is_never_negative_and_is_of_equal_size_in_all_blocks(seed):
    features, labels = drawn(25, 6, seed, classes=4)
    found = log_me(features, labels)
    alone = [log_me(features, (labels == one).astype(float)).score for one in np.unique(labels)]
    assert found.gain >= 0
    assert found.per_class == pytest.approx(alone, abs=1e-9)
    assert found.score == pytest.approx(np.mean(alone))


def test_noise_gains_nothing_and_does_not_diverge():
    rng = np.random.default_rng(0)
    found = log_me(rng.normal(size=(400, 30)), rng.normal(size=(400, 20)))
    assert found.gain < 1e-3
    assert np.isinf(found.penalties).any()
    assert np.isfinite(found.per_class).all()


def test_features_without_any_variation_say_nothing():
    assert log_me(np.zeros((6, 3)), [0, 0, 0, 1, 1, 1])[1::3] == (0.0, 0)


def test_names_are_classes_and_columns_are_targets():
    features, labels = drawn(30, 4)
    names = np.array(["ant", "bee", "wasp"])[labels]
    one_hot = np.eye(3)[labels]
    assert log_me(features, names).score == log_me(features, one_hot).score


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        ([[1.0], [2.0]], [0, 1, 1], "labels for 2 rows"),
        ([1.0, 2.0], [0, 1], r"shape \(2,\)"),
        ([[1.0], [np.nan]], [0, 1], "in 1 of 2 rows"),
        ([[1.0], [2.0]], [0.0, 0.0], "not 0 in all rows"),
    ],
)
def test_what_does_not_fit_is_an_error(features, labels, message):
    with pytest.raises(DataError, match=message):
        log_me(features, labels)
