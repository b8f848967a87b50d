"""Scores of many draws of few rows."""

import numpy as np
import pytest

from hf_transfer.scores.draws import Pool
from hf_transfer.scores.few_rows import SOLVERS
from hf_transfer.scores.transferability import Measure

CLASSES = 3


def pool(num_rows: int = 60, *, apart: float = 1.0, group_size: int = 1, seed: int = 0) -> Pool:
    """Rows of three classes whose means lie so far apart."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num_rows) % CLASSES
    features = apart * rng.standard_normal((CLASSES, 8))[labels] + rng.standard_normal((num_rows, 8))
    return Pool(features, labels, np.arange(num_rows) // group_size, Measure("accuracy", CLASSES))


def test_draws_of_fewer_rows_are_the_start_of_larger_ones_and_have_each_class():
    found = pool()
    drawn = found.draws(8, 50, seed=0)
    assert drawn.shape == (50, CLASSES, 8)
    assert (found.labels[drawn] == np.arange(CLASSES)[:, None]).all()
    assert all(len(np.unique(rows)) == rows.size for rows in drawn)
    assert (found.draws(3, 50, seed=0) == drawn[:, :, :3]).all()


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_score_is_that_of_each_draw_on_the_other_rows(solver):
    found = pool()
    drawn = found.draws(4, 6, seed=0)
    scored = found.score(solver, drawn, seed=0)
    for draw, rows in enumerate(drawn):
        heads = SOLVERS[solver](found.features[rows.ravel()][None], found.labels[rows.ravel()][None], CLASSES)
        others = np.setdiff1d(np.arange(60), rows)
        answers = heads.scores(found.features[others])[0].argmax(axis=1)
        assert scored.draws[draw] == pytest.approx((answers == found.labels[others]).mean())


def test_parts_change_no_score(monkeypatch):
    found = pool()
    drawn = found.draws(4, 20, seed=0)
    whole = found.score("centroid", drawn, seed=0)
    monkeypatch.setattr("hf_transfer.scores.draws._NUMBERS_AT_ONCE", 300)
    parts = found.score("centroid", drawn, seed=0)
    assert whole.draws.tolist() == parts.draws.tolist()
    assert whole.interval == pytest.approx(parts.interval)


def test_rows_of_a_drawn_group_are_not_asked():
    """Twins of a drawn row would all be right; with labels by chance, only twins can be known."""
    rng = np.random.default_rng(0)
    features = np.repeat(rng.standard_normal((30, 40)), 2, axis=0)
    labels = np.repeat(np.arange(30) % 3, 2)
    apart = Pool(features, labels, np.arange(60) // 2, Measure("accuracy", 3))
    mixed = Pool(features, labels, np.arange(60), Measure("accuracy", 3))
    drawn = apart.draws(10, 40, seed=0)
    assert apart.score("centroid", drawn, seed=0).mean < 0.45
    assert mixed.score("centroid", drawn, seed=0).mean > 0.5


def test_one_draw_is_spread_further_than_the_mean_and_less_with_more_rows():
    found = pool(300, apart=0.8)
    drawn = found.draws(16, 100, seed=0)
    few, many = (found.score("logistic", drawn[:, :, :shots], seed=0) for shots in (1, 16))
    assert few.mean < many.mean
    assert few.std > 2 * many.std
    for scored in (few, many):
        assert scored.interval[0] < scored.mean < scored.interval[1]
    assert few.one_draw[1] - few.one_draw[0] > few.interval[1] - few.interval[0]


def test_episodes_of_all_classes_agree_with_draws():
    found = pool(300, apart=0.8)
    drawn = found.score("centroid", found.draws(4, 300, seed=0), seed=0)
    episodes = found.episodes("centroid", 4, CLASSES, 300, 15, seed=1)
    assert episodes.mean() == pytest.approx(drawn.mean, abs=0.02)
    assert episodes.std() > drawn.std  # as each asks fewer rows


def test_fewer_classes_are_easier():
    found = pool(300, apart=0.8)
    two, three = (found.episodes("centroid", 2, way, 100, 15, seed=0).mean() for way in (2, 3))
    assert two > three
