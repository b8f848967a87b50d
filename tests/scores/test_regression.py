"""Exact solutions: against scikit-learn, against their own definition, and whatever was solved before."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, log_softmax
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from hf_transfer.scores.regression import Classifier, LabelSetProblem, LinearProblem, NumberProblem

STRENGTHS = (1e-4, 1e-2, 1.0, 100.0)
SHAPES = [(60, 5, 2), (60, 5, 4), (20, 40, 3), (30, 30, 2)]  # items, features, classes


def problem(items: int, width: int, classes: int, seed: int = 0, **settings) -> LinearProblem:
    rng = np.random.default_rng(seed)
    labels = np.arange(items) % classes
    centres = rng.normal(size=(classes, width))
    features = centres[labels] + rng.normal(size=(items, width)) * 2 + 3.0
    return LinearProblem(features.astype(np.float32), labels, classes, **settings)


def objective(given: LinearProblem, classifier: Classifier, strength: float) -> float:
    """The penalised mean loss, written down once more."""
    features = given.features.astype(float)
    weights = compute_sample_weight("balanced" if given.balanced else None, given.labels)
    logp = log_softmax(classifier.scores(features), axis=1)[np.arange(len(features)), given.labels]
    own = classifier.weight * features.std(0)
    factor = 2 if given.num_classes == 2 else 1
    return float(-(weights * logp).mean() + factor * strength / 2 * (own**2).sum())


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_logistic_regression_is_that_of_scikit_learn(shape, balanced):
    given = problem(*shape, balanced=balanced)
    scaled = StandardScaler().fit_transform(given.features.astype(float))
    for strength, found in given.solve(STRENGTHS).items():
        own = LogisticRegression(
            C=1 / (strength * len(scaled)), tol=1e-9, max_iter=50_000,
            class_weight="balanced" if balanced else None,
        ).fit(scaled, given.labels)  # fmt: skip
        logp = log_softmax(found.scores(given.features), axis=1)
        assert np.abs(np.exp(logp) - own.predict_proba(scaled)).max() < 2e-5


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_ridge_is_that_of_scikit_learn(shape, balanced):
    given = problem(*shape, solver="ridge", balanced=balanced)
    scaled = StandardScaler().fit_transform(given.features.astype(float))
    weights = compute_sample_weight("balanced", given.labels) if balanced else None
    for strength, found in given.solve(STRENGTHS).items():
        own = Ridge(alpha=strength * len(scaled)).fit(
            scaled, 2.0 * np.eye(given.num_classes)[given.labels] - 1, weights
        )
        assert np.abs(found.scores(given.features) - own.predict(scaled)).max() < 1e-6


@pytest.mark.parametrize("solver", ["lbfgs", "ridge"])
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.sampled_from(SHAPES), st.sampled_from([0.0, *STRENGTHS]))
def test_a_penalty_solved_alone_is_that_of_a_whole_path(solver, seed, shape, strength):
    given = problem(*shape, seed=seed, solver=solver)
    alone = given.solve([strength])[strength].scores(given.features)
    path = given.solve([0.0, *STRENGTHS])[strength].scores(given.features)
    # Without a penalty there is hardly a curvature where classes can be separated.
    assert np.abs(alone - path).max() < (1e-6 if strength else 1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.sampled_from(SHAPES), st.sampled_from(STRENGTHS), st.booleans())
def test_no_step_away_from_an_optimum_is_better(seed, shape, strength, balanced):
    given = problem(*shape, seed=seed, balanced=balanced)
    found = given.solve([strength])[strength]
    rng = np.random.default_rng(seed)
    best = objective(given, found, strength)
    for size in (1e-3, 1e-1):
        moved = Classifier(
            found.weight + size * rng.normal(size=found.weight.shape),
            found.bias + size * rng.normal(size=found.bias.shape),
        )
        assert objective(given, moved, strength) > best


@pytest.mark.parametrize("labels", [[0, 0, 2, 2], [1, 1, 1, 1]])
@pytest.mark.parametrize("solver", ["lbfgs", "ridge"])
def test_a_class_that_the_items_lack_is_unlikely(labels, solver):
    features = np.random.default_rng(0).normal(size=(4, 3))
    found = LinearProblem(features, np.array(labels), 3, solver).solve([0.1])[0.1]
    absent = [c for c in range(3) if c not in labels]
    scores = found.scores(features)
    assert (scores[:, absent].max(1) < scores[np.arange(4), labels]).all()


def test_a_constant_feature_gets_no_weight():
    given = problem(40, 4, 2)
    given.features[:, 2] = 7.25
    for solver in ("lbfgs", "ridge"):
        found = LinearProblem(given.features, given.labels, 2, solver).solve([1e-3])[1e-3]
        assert np.abs(found.weight[:, 2]).max() < 1e-9


@pytest.mark.parametrize("solver", ["lbfgs", "ridge"])
def test_the_strength_that_is_chosen_is_strong_where_there_are_as_many_items_as_features(solver):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    noisy = rng.normal(size=(300, 250))
    noisy[:, 0] += 1.5 * labels
    clear = 3.0 * labels[:, None] + rng.normal(size=(300, 4))
    fifth = np.arange(300) % 5 == 0
    splits = [(np.flatnonzero(~fifth), np.flatnonzero(fifth))]
    strong, weak = (LinearProblem(f, labels, 2, solver).choose(STRENGTHS, splits) for f in (noisy, clear))
    assert strong > weak


def test_a_closed_form_that_is_not_at_its_optimum_is_refused(monkeypatch):
    monkeypatch.setattr("hf_transfer.scores.regression._MOST_STEPS", 1)
    rng = np.random.default_rng(0)
    problem = LinearProblem(rng.normal(size=(60, 5)), rng.integers(3, size=60), 3)
    with pytest.raises(ArithmeticError, match="not at its optimum after 1 steps; a higher weight_decay"):
        problem.solve([1e-3])


def label_sets(items: int, width: int, labels: int, seed: int = 0, **settings) -> LabelSetProblem:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(items, width)) * 2 + 3.0
    scores = features @ rng.normal(size=(width, labels)) + rng.normal(size=(items, labels)) * 3
    marks = (scores > np.quantile(scores, 0.7, axis=0)).astype(np.int64)
    return LabelSetProblem(features.astype(np.float32), marks, labels, **settings)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_label_sets_are_a_logistic_regression_for_each_label(shape, balanced):
    given = label_sets(*shape, balanced=balanced)
    scaled = StandardScaler().fit_transform(given.features.astype(float))
    for strength, found in given.solve(STRENGTHS).items():
        for column, labels in enumerate(given.labels.T):
            weights = np.where(labels == 1, (1 - labels.mean()) / labels.mean(), 1.0) if balanced else None
            own = LogisticRegression(C=1 / (strength * len(scaled)), tol=1e-9, max_iter=50_000).fit(
                scaled, labels, weights
            )
            wanted = own.decision_function(scaled)
            assert np.abs(expit(found.scores(given.features)[:, column]) - expit(wanted)).max() < 2e-5


def test_a_label_that_no_item_or_every_item_has_is_left_to_the_bias():
    given = label_sets(40, 3, 2)
    given.labels[:, 0], given.labels[:, 1] = 0, 1
    found = given.solve([0.1])[0.1]
    assert found.weight.tolist() == [[0.0] * 3] * 2
    assert found.bias.tolist() == [-np.log(40), np.log(40)]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.floats(1e-3, 1e3), st.floats(-1e4, 1e4))
def test_numbers_in_another_unit_have_the_same_solution_in_it(seed, size, start):
    rng = np.random.default_rng(seed)
    features, labels = rng.normal(size=(30, 4)), rng.normal(size=30)
    own = NumberProblem(features, labels, 1, "ridge").solve([0.01])[0.01].scores(features)
    other = NumberProblem(features, labels * size + start, 1, "ridge").solve([0.01])[0.01].scores(features)
    assert other == pytest.approx(own * size + start, abs=1e-9 * max(1.0, size, abs(start)))


def test_numbers_are_a_ridge_regression_of_scikit_learn():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(30, 4)) + 3, rng.normal(size=30)
    scaled = StandardScaler().fit_transform(features)
    for strength, found in NumberProblem(features, labels, 1, "ridge").solve(STRENGTHS).items():
        own = Ridge(alpha=strength * len(scaled)).fit(scaled, labels)
        assert np.abs(found.scores(features)[:, 0] - own.predict(scaled)).max() < 1e-9


@pytest.mark.parametrize("solver", ["lbfgs", "ridge"])
def test_a_share_counts_as_if_the_item_were_there_that_often(solver):
    random = np.random.default_rng(0)
    labels = np.arange(12) % 3
    rows = random.normal(size=(12, 4)) + labels[:, None]
    often = np.repeat(np.arange(12), random.integers(1, 5, 12))
    shares = np.bincount(often) / len(often)
    repeated = LinearProblem(rows[often], labels[often], 3, solver).solve([0.1])[0.1]
    weighted = LinearProblem(rows, labels, 3, solver, shares=shares).solve([0.1])[0.1]
    np.testing.assert_allclose(weighted.scores(rows), repeated.scores(rows), atol=1e-7)
