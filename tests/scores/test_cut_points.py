"""Cut points: fitted to other folds, moved only where that helps, and measured on rows they never saw."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import logit
from scored_tables import number_predictions, set_predictions
from sklearn import metrics as sk

from hf_transfer.scores.cut_points import find_cuts
from hf_transfer.scores.cutting import Cut
from hf_transfer.scores.grade_scorer import GradeScorer, best_cuts, cut_into, quadratic_kappa
from hf_transfer.scores.number_scorer import NumberScorer
from hf_transfer.scores.over_folds import score_folds
from hf_transfer.scores.set_scorer import LabelSetScorer
from hf_transfer.scores.statistics import best_threshold

GRADES = GradeScorer(["stars"])


def sets(shares: np.ndarray, labels: np.ndarray, num_folds: int = 5) -> tuple[pa.Table, LabelSetScorer]:
    """Predictions with these probabilities of each label, (n, c)."""
    ids = pa.list_(pa.int64())
    lists = {
        name: pa.array([np.flatnonzero(row).tolist() for row in marks], ids)
        for name, marks in (("label", labels), ("prediction", shares >= 0.5))
    }
    places = {"row_id": np.arange(len(shares)), "repeat": np.zeros(len(shares), np.int32)}
    folds = (np.arange(len(shares)) % num_folds).astype(np.int32)
    logits = pa.array(list(logit(shares)), pa.list_(pa.float64()))
    table = pa.table(places | {"fold": folds} | lists | {"logits": logits})
    return table, LabelSetScorer([f"label {i}" for i in range(shares.shape[1])])


def calibrated(seed: int, num_rows: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of two rare labels, and labels that are as frequent as these say."""
    rng = np.random.default_rng(seed)
    shares = np.clip(rng.beta(1, 5, (num_rows, 2)), 1e-6, 1 - 1e-6)
    return shares, rng.random(shares.shape) < shares


def test_calibrated_probabilities_are_cut_at_half_of_the_best_f1():
    shares, labels = calibrated(0, 200_000)
    for column, own in zip(shares.T, labels.T, strict=True):
        found = best_threshold(column, own.astype(int), "f1")
        assert found.value == pytest.approx(found.score / 2, abs=0.02)  # Lipton, Elkan and Naryanaswamy, 2014


def test_thresholds_of_rare_labels_help_rows_that_they_were_not_fitted_to():
    table, scorer = sets(*calibrated(1))
    found = find_cuts(table, scorer)
    assert found.moved == 2
    assert all(0.1 < point.value < 0.4 for point in found.points)
    assert found.scores["f1_macro"].cut.mean > found.scores["f1_macro"].plain.mean + 0.1
    plain = [fold["f1_macro"] for fold in score_folds(table, scorer).values()]
    assert found.scores["f1_macro"].plain.mean == pytest.approx(np.mean(plain))


def test_a_fold_is_cut_by_the_other_folds_alone():
    """Other labels in a fold change nothing in how its own rows are decided."""
    shares, labels = calibrated(2)
    of_fold = np.arange(len(shares)) % 5 == 3
    other = np.where(of_fold[:, None], ~labels, labels)
    given = []
    for marks in (labels, other):
        table, scorer = sets(shares, marks)
        points = scorer.cutting.fit(table.filter(pa.array(~of_fold)))
        given.append(scorer.cutting.decide(table.filter(pa.array(of_fold)), points)["prediction"])
    assert given[0].equals(given[1])
    whole = [find_cuts(*sets(shares, marks)).points for marks in (labels, other)]
    assert whole[0] != whole[1]


def test_noise_and_few_rows_move_nothing():
    rng = np.random.default_rng(3)
    shares = rng.uniform(0.01, 0.99, (3000, 3))
    labels = shares + rng.normal(0, 0.02, shares.shape) >= 0.5  # a half is right
    labels[:, 2] = False
    labels[:5, 2] = True  # too few rows have it
    found = find_cuts(*sets(shares, labels))
    assert found.points[2] == Cut("label 2", 0.5)
    assert all(abs(point.value - 0.5) < 0.03 for point in found.points)


@pytest.mark.parametrize("num_folds", [1, 2])
def test_two_folds_are_too_few(num_folds):
    assert find_cuts(*sets(*calibrated(4, 200), num_folds)) is None
    assert find_cuts(number_predictions(40, num_folds=5), NumberScorer(["stars"])) is None


def test_sets_of_several_repeats_are_cut_within_each():
    table = set_predictions(90, ["a", "b", "c"], num_folds=3, num_repeats=2, seed=0)
    found = find_cuts(table, LabelSetScorer(["a", "b", "c"]))
    assert [point.name for point in found.points] == ["a", "b", "c"]
    assert found.scores["f1_micro"].cut.num_folds == 6


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 60), st.integers(2, 6))
def test_quadratic_kappa_is_that_of_scikit_learn(seed, num_rows, num_grades):
    rng = np.random.default_rng(seed)
    labels, grades = rng.integers(0, num_grades, (2, num_rows))
    assume(np.ptp(labels) or np.ptp(grades))
    wanted = sk.cohen_kappa_score(labels, grades, weights="quadratic", labels=np.arange(num_grades))
    found = quadratic_kappa(labels * 1.0, grades * 1.0, np.ones((1, num_rows)))[0]
    assert found == pytest.approx(wanted, nan_ok=True, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(6, 80), st.integers(2, 5))
def test_best_cuts_are_in_order_and_never_worse_than_half_way(seed, num_rows, num_grades):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_grades, num_rows).astype(float)
    numbers = 0.4 * labels + rng.normal(0, 0.3, num_rows).round(1)
    grades = np.unique(labels)
    cuts = best_cuts(numbers, labels, grades)
    assert (np.diff(cuts) >= 0).all()
    middles = (grades[:-1] + grades[1:]) / 2
    once = np.ones((1, num_rows))

    def kappa(points):
        named = [Cut(f"{g:g}", c) for g, c in zip(grades, [None, *points], strict=True)]
        return np.nan_to_num(quadratic_kappa(labels, cut_into(numbers, named), once)[0], nan=-1)

    assert kappa(cuts) >= kappa(middles) - 1e-9


def test_shrunken_predictions_get_their_grades_back():
    """A squared error pulls predictions to the mean, so that rounding loses the outer grades."""
    rng = np.random.default_rng(0)
    labels = rng.integers(1, 6, 500).astype(float)
    table = number_predictions(500, num_folds=5)
    numbers = 3 + 0.4 * (labels - 3) + rng.normal(0, 0.1, 500)
    for name, values in (("label", labels), ("prediction", numbers)):
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    found = find_cuts(table, GRADES)
    assert [point.name for point in found.points] == ["1", "2", "3", "4", "5"]
    assert found.points[0].value is None
    assert [point.value for point in found.points[1:]] == pytest.approx([2.4, 2.8, 3.2, 3.6], abs=0.1)
    assert found.scores["accuracy"].cut.mean > 0.9 > 0.5 > found.scores["accuracy"].plain.mean


def test_grades_that_are_right_by_rounding_stay_as_they_are():
    rng = np.random.default_rng(1)
    labels = rng.integers(1, 6, 400).astype(float)
    table = number_predictions(400, num_folds=4)
    for name, values in (("label", labels), ("prediction", labels + rng.uniform(-0.4, 0.4, 400))):
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    found = find_cuts(table, GRADES)
    assert found.moved == 0
    assert [point.value for point in found.points[1:]] == [1.5, 2.5, 3.5, 4.5]
