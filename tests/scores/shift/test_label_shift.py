import numpy as np
import pytest
from scipy.stats import chi2_contingency

from hf_transfer.scores.shift.label_shift import label_shift


def labels(seed, shares, number):
    return np.random.default_rng(seed).choice(len(shares), size=number, p=shares)


def test_the_statistic_and_p_are_those_of_pearsons_test():
    first, second = labels(0, [0.5, 0.3, 0.2], 300), labels(1, [0.42, 0.33, 0.25], 260)
    found = label_shift(first, second, 3)
    wanted = chi2_contingency([found.first, found.second], correction=False)
    assert found.first.tolist() == np.bincount(first, minlength=3).tolist()
    assert found.statistic == pytest.approx(wanted.statistic)
    assert found.p == pytest.approx(wanted.pvalue, abs=0.04)


def test_other_shares_are_found_and_equal_ones_seldom_are():
    same = [
        label_shift(labels(s, [0.6, 0.4], 60), labels(s + 999, [0.6, 0.4], 80), 2, seed=s).p
        for s in range(60)
    ]
    assert np.mean(np.array(same) < 0.05) <= 0.1
    assert label_shift(labels(0, [0.9, 0.1], 80), labels(1, [0.4, 0.6], 80), 2).p < 0.01


def test_a_label_that_nothing_has_changes_nothing():
    first, second = labels(0, [0.5, 0.5], 50), labels(1, [0.3, 0.7], 50)
    assert label_shift(first, second, 2).statistic == pytest.approx(label_shift(first, second, 5).statistic)


def test_groups_change_places_whole():
    first, second = np.zeros(40, np.int64), np.ones(40, np.int64)
    groups = (np.arange(40) // 20, np.arange(40) // 20)
    assert label_shift(first, second, 2).p < 0.01
    assert label_shift(first, second, 2, groups=groups).p > 0.2  # two groups of each: one way in three
