"""Rows of one source raise an alarm, and independent rows do not."""

from typing import Any

import numpy as np
import pytest

from hf_transfer.scores.neighbours import Alike, Labelled, alike, blocks, is_an_order
from hf_transfer.scores.transferability.ridge import Ridge, rows_of


def judged(features: Any, labels: Any, candidates: Any, seed: int = 0) -> dict[str, Alike]:
    """Test candidates, with the errors of ridge regression."""
    strata = np.unique(labels, return_inverse=True)[1]
    targets = np.eye(strata.max() + 1)[strata]

    def errors_of(halves: Any) -> Any:
        errors = targets.copy()
        for half in (0, 1):
            train, valid = np.flatnonzero(halves != half), np.flatnonzero(halves == half)
            ridge = Ridge(features[train])
            fits = ridge.fit(rows_of(strata[train][None], strata.max() + 1))
            errors[valid] -= ridge.decisions(fits, features[valid], balanced=False)[:, :, 0]
        return errors

    return alike(features, errors_of, Labelled(strata, strata), candidates, seed=seed)


def independent(seed: int) -> tuple[Any, Any]:
    """Rows of two to four classes: balanced or not, mixed or sorted, with features of any spread."""
    rng = np.random.default_rng(seed)
    n, classes, d = int(rng.integers(40, 160)), int(rng.integers(2, 5)), int(rng.choice([8, 64, 200]))
    labels = rng.choice(classes, n, p=rng.dirichlet(np.full(classes, 2.0)))
    if seed % 2:
        labels.sort()
    spread = rng.exponential(size=d)
    return rng.standard_normal((n, d)) * spread + rng.standard_normal((classes, d))[labels] / 2, labels


def test_at_most_one_independent_data_set_in_twenty_raises_an_alarm():
    alarms = 0
    for seed in range(100):
        features, labels = independent(seed)
        rng, n = np.random.default_rng(seed), len(labels)
        few, many = rng.integers(6, size=n), rng.integers(n // 4, size=n)
        candidates = {"order": np.arange(n), "few": few, "many": many}
        alarms += any(one.speaks for one in judged(features, labels, candidates, seed).values())
    assert alarms <= 5


def video(rng: Any) -> tuple[Any, Any, Any]:
    """Frames of six films, whose features drift slowly; each film is of one class."""
    film = np.repeat(np.arange(6), 20)
    drift = np.concatenate([np.cumsum(rng.standard_normal((20, 48)), axis=0) for _ in range(6)])
    return 3 * rng.standard_normal((6, 48))[film] + drift + rng.standard_normal((120, 48)), film % 2, film


def crops(rng: Any) -> tuple[Any, Any, Any]:
    """Five crops of each of twelve pictures."""
    picture = np.repeat(np.arange(12), 5)
    features = 2 * rng.standard_normal((12, 384))[picture] + rng.standard_normal((60, 384))
    return features, picture % 2, picture


def answers(rng: Any) -> tuple[Any, Any, Any]:
    """Answers of thirty authors, who lean to one side each and are of all classes."""
    author = np.repeat(np.arange(30), 8)
    labels = (rng.random(240) < rng.beta(0.5, 0.5, 30)[author]).astype(int)
    features = rng.standard_normal((30, 64))[author] + rng.standard_normal((240, 64))
    return features + labels[:, None] * rng.standard_normal(64) / 4, labels, author


@pytest.mark.parametrize("make", [video, crops, answers])
def test_related_rows_raise_an_alarm(make):
    by_order = by_source = 0
    for seed in range(5):
        features, labels, source = make(np.random.default_rng(seed))
        found = judged(features, labels, {"order": np.arange(len(labels)), "source": source}, seed)
        by_order, by_source = by_order + found["order"].speaks, by_source + found["source"].speaks
    assert by_order >= 4
    assert by_source >= 4


def test_sources_are_found_in_shuffled_rows_by_their_column_alone():
    rng = np.random.default_rng(0)
    features, labels, source = crops(rng)
    order = rng.permutation(60)
    found = judged(features[order], labels[order], {"order": np.arange(60), "source": source[order]})
    assert [name for name, one in found.items() if one.speaks] == ["source"]


def test_what_follows_from_the_class_is_not_tested():
    features, labels = independent(0)
    assert list(judged(features, labels, {"class": labels, "name": 5 - labels, "order": -labels})) == []


def test_features_alone_are_not_enough():
    """Rows of a source look alike, and the model is off by the same everywhere."""
    features, labels, source = crops(np.random.default_rng(1))
    found = alike(
        features, lambda halves: np.ones((60, 2)), Labelled(labels, labels), {"source": source}, seed=0
    )["source"]
    assert found.p_features < 0.01
    assert found.strength > 5
    assert not found.speaks


@pytest.mark.parametrize("num_folds", [2, 5])
def test_blocks_hold_whole_groups_and_runs_of_every_class(num_folds):
    rng = np.random.default_rng(2)
    classes, groups = rng.integers(3, size=200), rng.integers(40, size=200)
    of_groups, of_order = blocks(classes, groups, num_folds), blocks(classes, np.arange(200), num_folds)
    assert all(len(set(of_groups[groups == group])) == 1 for group in set(groups.tolist()))
    for one in range(3):
        assert (np.diff(of_order[classes == one]) >= 0).all()
        sizes = np.bincount(of_order[classes == one], minlength=num_folds)
        assert np.ptp(sizes) <= 1


def test_an_order_is_told_from_groups():
    assert is_an_order(np.arange(10))
    assert not is_an_order(np.arange(10) // 2)


def test_it_is_the_same_for_the_same_seed():
    features, labels, source = answers(np.random.default_rng(3))
    assert judged(features, labels, {"source": source}) == judged(features, labels, {"source": source})
