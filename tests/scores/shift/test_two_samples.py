"""Telling two sets of rows apart: against refits, and by how often it errs."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from hf_transfer.errors import DataError
from hf_transfer.scores.shift.two_samples import areas, halves, two_sample_test


def samples(seed, rows=(30, 26), width=8, shift=0.0):
    rng = np.random.default_rng(seed)
    first, second = (rng.normal(size=(n, width)) for n in rows)
    second[:, 0] += shift
    return first, second


def refitted(first, second, units):
    """Scores by models that are fitted anew without each unit."""
    table, signs = np.concatenate([first, second]), np.repeat([-1.0, 1.0], [len(first), len(second)])
    table = (table - table.mean(axis=0)) / table.std(axis=0)
    scores = np.empty(len(table))
    for unit in np.unique(units):
        out = units == unit
        model = Ridge(alpha=table.shape[1]).fit(table[~out], signs[~out])
        scores[out] = model.predict(table[out])
    return scores, signs


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("width", [8, 90])
def test_scores_are_those_of_models_that_have_not_seen_the_row_or_its_group(grouped, width):
    first, second = samples(0, width=width, shift=1.0)
    groups = (np.arange(30) // 5, np.arange(26) // 4) if grouped else (None, None)
    units = np.concatenate([groups[0], groups[1] + 100]) if grouped else np.arange(56)
    wanted, signs = refitted(first, second, units)
    found = two_sample_test(first, second, groups=groups, num_permutations=9)
    assert found.scores == pytest.approx(wanted, abs=1e-9)
    assert found.auc == pytest.approx(roc_auc_score(signs > 0, wanted))
    wrong = [(wanted[signs == sign] * sign <= 0).mean() for sign in (-1, 1)]
    assert found.a_distance == pytest.approx(max(0, 2 * (1 - sum(wrong))))


def test_areas_share_ties():
    scores = np.round(np.random.default_rng(1).normal(size=(40, 3)), 0)
    signs = np.where(np.random.default_rng(2).random((40, 3)) < 0.4, 1.0, -1.0)
    wanted = [roc_auc_score(signs[:, i] > 0, scores[:, i]) for i in range(3)]
    assert areas(scores, signs) == pytest.approx(wanted)


def test_rows_of_one_domain_raise_few_false_alarms_and_a_shift_is_found():
    draws = [two_sample_test(*samples(seed, (30, 30)), seed=seed + 999) for seed in range(300)]
    assert np.mean([found.p < 0.05 for found in draws]) <= 0.08
    assert np.mean([found.auc for found in draws]) == pytest.approx(0.5, abs=0.03)
    shifted = [two_sample_test(*samples(seed, (30, 30), shift=1.5), seed=seed) for seed in range(20)]
    assert np.mean([found.p < 0.05 for found in shifted]) > 0.8


def test_an_area_above_the_one_it_names_would_have_been_found():
    found = [two_sample_test(*samples(seed, (30, 30), shift=0.6), seed=seed) for seed in range(40)]
    assert {(one.auc > one.found_from) == (one.p < 0.05) for one in found} == {True}
    assert {one.p < 0.05 for one in found} == {True, False}


def test_the_same_rows_twice_are_no_shift():
    first, _ = samples(3)
    found = two_sample_test(first, first)
    assert found.p >= 0.05
    assert found.a_distance == 0


def test_groups_change_places_whole():
    def drawn(seed):
        rng = np.random.default_rng(seed)
        middles = rng.normal(size=(2, 10, 1, 6))
        rows = (middles + 0.4 * rng.normal(size=(2, 10, 4, 6))).reshape(2, 40, 6)
        return rows, np.repeat(np.arange(10), 4)

    by_group, by_row = [], []
    for seed in range(60):
        (first, second), groups = drawn(seed)
        settings = {"num_permutations": 59, "seed": seed}
        by_group.append(two_sample_test(first, second, groups=(groups, groups), **settings).p < 0.05)
        by_row.append(two_sample_test(first, second, **settings).p < 0.05)
    assert np.mean(by_group) <= 0.1
    assert np.mean(by_row) > 0.5


def test_features_that_do_not_vary_say_nothing():
    first, second = samples(4, shift=1.0)
    wider = [np.hstack([rows, np.full((len(rows), 1), 7.0)]) for rows in (first, second)]
    found, plain = two_sample_test(*wider, seed=1), two_sample_test(first, second, seed=1)
    assert found.scores == pytest.approx(plain.scores)
    assert found.p == plain.p


def test_rows_or_groups_of_which_nothing_could_be_told_are_an_error():
    first, second = samples(5)
    for sizes in ((0, 5), (1, 26), (3, 3)):
        with pytest.raises(DataError, match=f"few rows to tell data sets apart: {sizes[0]} and {sizes[1]},"):
            two_sample_test(first[: sizes[0]], second[: sizes[1]])
    with pytest.raises(DataError, match=r"few groups .*: 1 and 26, .* or leave --group_by out"):
        two_sample_test(first, second, groups=(np.zeros(30, np.int64), None))
    far = np.full((4, 3), 9.0) + first[:4, :3]
    assert two_sample_test(first[:4, :3], far).p < 0.05, "of four rows each it can be told"


def test_halves_hold_every_row_once_and_groups_whole():
    groups = np.arange(21) // 3
    left, right = halves(groups, 21, seed=0)
    assert sorted([*left, *right]) == list(range(21))
    assert not {*groups[left]} & {*groups[right]}
    left, right = halves(None, 9, seed=0)
    assert (len(left), len(right)) == (4, 5)
