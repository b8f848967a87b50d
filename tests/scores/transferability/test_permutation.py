import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_transfer.errors import DataError
from hf_transfer.scores.transferability import (
    Measure,
    choose_inside,
    permutation_test,
    ridge_probe,
    shuffled_labels,
)

ACCURACY = Measure("accuracy", 2)


def folds(n, k=4):
    rows = np.arange(n)
    return [(rows[rows % k != i], rows[rows % k == i]) for i in range(k)]


def fold_of(n, k=4):
    return np.arange(n) % k


def drawn(signal, n=64, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) // 4 % 2  # each of the four folds has as many of either
    return rng.normal(size=(n, 8)) + signal * labels[:, None], labels


def test_a_signal_is_found_and_shuffled_labels_are_at_chance():
    features, labels = drawn(1.0)
    found = permutation_test(
        [features], labels, shuffled_labels(labels, folds=fold_of(64), seed=0), folds(64), ACCURACY
    )
    assert found.p == 1 / 200
    assert found.score > 0.85
    assert found.shuffled.mean() == pytest.approx(0.5, abs=0.05)


def test_without_a_signal_p_is_small_as_rarely_as_it_says():
    p = []
    for seed in range(40):
        features, labels = drawn(0.0, n=32, seed=seed)
        orders = shuffled_labels(labels, 19, folds=fold_of(32), seed=seed)
        p.append(permutation_test([features], labels, orders, folds(32), ACCURACY).p)
    assert np.mean(np.array(p) <= 0.05) <= 0.15
    assert np.mean(p) == pytest.approx(0.55, abs=0.15)


def test_every_score_is_that_of_the_whole_procedure():
    first, labels = drawn(0.3)
    second, _ = drawn(0.3, seed=1)
    orders = shuffled_labels(labels, 5, folds=fold_of(64), seed=0)
    found = permutation_test([first, second], labels, orders, folds(64), ACCURACY)
    for own, score in zip([labels, *orders], [found.score, *found.shuffled], strict=True):
        probes = {name: ridge_probe(x, own, folds(64)) for name, x in (("a", first), ("b", second))}
        assert score == pytest.approx((choose_inside(probes).of_rows(64) == own).mean())


def test_units_change_places_as_a_whole():
    labels, units = np.array([0, 0, 1, 1, 2, 2]), [7, 7, 5, 5, 9, 9]
    orders = shuffled_labels(labels, 50, folds=[0] * 6, units=units, seed=0)
    assert (orders[:, ::2] == orders[:, 1::2]).all()
    assert len({tuple(order) for order in orders}) == 6


@pytest.mark.parametrize("folds_of", [lambda groups: groups, lambda groups: groups % 3])
def test_groups_that_hold_all_classes_in_one_order_are_shuffled_too(folds_of):
    # As speakers who each say all words, and passages with a question that fits and one that does not.
    groups, labels = np.repeat(np.arange(6), 12), np.tile(np.repeat(np.arange(4), 3), 6)
    orders = shuffled_labels(labels, 400, folds=folds_of(groups), units=groups, seed=0)
    assert (orders == labels).mean() == pytest.approx(1 / 4, abs=0.02)


def test_labels_of_groups_are_no_evidence_of_their_own():
    # Rows of a group are alike and share a label that means nothing: rows shuffled alone look like proof.
    rng = np.random.default_rng(0)
    p = {"rows": [], "groups": []}
    for seed in range(12):
        groups = np.repeat(np.arange(16), 4)
        # Each fold has two groups of either label, as balanced folds would.
        labels = (
            np.concatenate([rng.permutation([0, 0, 1, 1]) for _ in range(4)]).reshape(4, 4).T.ravel()[groups]
        )
        features = rng.normal(size=(16, 4))[groups] + 0.1 * rng.normal(size=(64, 4))
        splits = [(np.flatnonzero(groups % 4 != i), np.flatnonzero(groups % 4 == i)) for i in range(4)]
        for name, units in (("rows", None), ("groups", groups)):
            orders = shuffled_labels(labels, 39, folds=groups % 4, units=units, seed=seed)
            p[name].append(permutation_test([features], labels, orders, splits, ACCURACY).p)
    assert np.mean(np.array(p["groups"]) <= 0.05) <= 0.2
    assert np.median(p["groups"]) > 0.2
    assert np.mean(np.array(p["rows"]) <= 0.05) > np.mean(np.array(p["groups"]) <= 0.05)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=12), st.integers(0, 99))
@settings(max_examples=30)
def test_every_fold_keeps_its_labels(labels, seed):
    labels = np.array(labels)
    folds, units = fold_of(len(labels), 2), np.arange(len(labels)) // 3
    for order in shuffled_labels(labels, 3, folds=folds, units=units, seed=seed):
        for fold in (0, 1):
            assert sorted(order[folds == fold]) == sorted(labels[folds == fold])


def test_what_does_not_fit_is_an_error():
    features, labels = drawn(0.0)
    orders = shuffled_labels(labels, 3, folds=fold_of(64), seed=0)
    with pytest.raises(DataError, match="hold each row out once"):
        permutation_test([features], labels, orders, folds(64) * 2, ACCURACY)
    with pytest.raises(DataError, match="one or more layers"):
        permutation_test([], labels, orders, folds(64), ACCURACY)
    with pytest.raises(DataError, match="a fold and a unit for each of 64 rows, got 64 and 3"):
        shuffled_labels(labels, folds=fold_of(64), units=[1, 2, 3], seed=0)
