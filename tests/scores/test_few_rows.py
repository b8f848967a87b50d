"""Linear heads for few rows a class."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.neighbors import NearestCentroid

from hf_transfer.scores.few_rows import SOLVERS, centroid, logistic, ridge

CLASSES, WIDTH = 4, 12


def drawn(shots: int, draws: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows around a mean for each class, far from the origin, (b, m, d), and labels (b, m)."""
    rng = np.random.default_rng(seed)
    means = 2 * rng.standard_normal((CLASSES, WIDTH))
    labels = np.tile(np.repeat(np.arange(CLASSES), shots), (draws, 1))
    return 5 + means[labels] + rng.standard_normal((*labels.shape, WIDTH)), labels


def spread_of(rows: np.ndarray) -> np.ndarray:
    """Each feature's spread, with ten rows of the mean variance imagined."""
    variance = rows.var(axis=0)
    return np.sqrt((len(rows) * variance + 10 * variance.mean()) / (len(rows) + 10))


def standard(rows: np.ndarray, labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Other rows as the heads see them: around the middle of the classes, in units of the spread."""
    middle = np.mean([rows[labels == label].mean(axis=0) for label in range(CLASSES)], axis=0)
    return (others - middle) / spread_of(rows)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_a_draw_is_solved_as_if_it_were_alone(solver):
    rows, labels = drawn(5)
    together = solver(rows, labels, CLASSES)
    for draw in range(len(rows)):
        alone = solver(rows[draw : draw + 1], labels[draw : draw + 1], CLASSES)
        np.testing.assert_allclose(together.weight[draw], alone.weight[0], atol=1e-3)
        np.testing.assert_allclose(together.bias[draw], alone.bias[0], atol=1e-2)


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("shots", [1, 2, 9])
def test_shifted_and_scaled_features_change_no_answer(solver, shots):
    rows, labels = drawn(shots)
    others = drawn(20, seed=1)[0][0]
    before = solver(rows, labels, CLASSES).scores(others).argmax(axis=2)
    after = solver(3 * rows + 7, labels, CLASSES).scores(3 * others + 7).argmax(axis=2)
    assert (before == after).mean() > 0.99


def test_the_centroid_is_that_of_unit_rows():
    rows, labels = drawn(5, draws=1)
    others = drawn(20, seed=1)[0][0]
    seen = unit(standard(rows[0], labels[0], rows[0]))
    means = unit(NearestCentroid().fit(seen, labels[0]).centroids_)
    wanted = (unit(standard(rows[0], labels[0], others)) @ means.T).argmax(axis=1)
    assert (centroid(rows, labels, CLASSES).scores(others)[0].argmax(axis=1) == wanted).all()


def test_the_logistic_head_is_scikit_learns_on_unit_rows():
    rows, labels = drawn(5, draws=1)
    others = drawn(20, seed=1)[0][0]
    oracle = LogisticRegression(C=10.0, fit_intercept=False, tol=1e-10, max_iter=10_000)
    oracle.fit(unit(standard(rows[0], labels[0], rows[0])), labels[0])
    wanted = oracle.predict(unit(standard(rows[0], labels[0], others)))
    assert (logistic(rows, labels, CLASSES).scores(others)[0].argmax(axis=1) == wanted).all()


def test_ridge_answers_as_scikit_learns_at_its_penalty():
    rows, labels = drawn(8, draws=1)
    others = drawn(20, seed=1)[0][0]
    seen = standard(rows[0], labels[0], rows[0])
    values = np.linalg.eigvalsh((seen - seen.mean(0)) @ (seen - seen.mean(0)).T)
    penalties = np.maximum(values, 0).mean() * 10.0 ** np.arange(-4, 4.01, 0.5)
    targets = np.eye(CLASSES)[labels[0]]
    found = ridge(rows, labels, CLASSES).scores(others)[0]
    near = [
        np.abs(RidgeCV([one]).fit(seen, targets).predict(standard(rows[0], labels[0], others)) - found).max()
        for one in penalties
    ]
    assert min(near) < 1e-8


def test_a_class_without_rows_is_never_the_answer_of_all():
    rows, labels = drawn(5, draws=1)
    seen = labels[0] != 2
    for solver in SOLVERS.values():
        found = solver(rows[:, seen], labels[:, seen], CLASSES).scores(rows[0][seen])[0]
        assert (found.argmax(axis=1) == labels[0][seen]).mean() > 0.9
