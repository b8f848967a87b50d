import numpy as np
import pytest

from hf_transfer.scores.statistics import corrected_resampled_t
from hf_transfer.selection.rank.verdicts import compare_all

LOW = np.array([0.50, 0.52, 0.48, 0.51, 0.49])
WOBBLE = np.array([0.01, -0.01, 0.02, -0.02, 0.0])


def asked(**ours):
    return compare_all({name: ("other", LOW + by, LOW) for name, by in ours.items()}, 5)


def test_the_three_verdicts():
    found = asked(ahead=0.3 + WOBBLE, behind=-0.3 + WOBBLE, near=WOBBLE)
    assert {name: one.verdict for name, one in found.items()} == {
        "ahead": "better", "behind": "worse", "near": "can't tell",
    }  # fmt: skip
    assert found["ahead"].difference == pytest.approx(0.3)
    assert found["ahead"].other == "other"


def test_one_candidate_is_tested_one_sided_by_the_corrected_test():
    found = asked(one=0.02 + WOBBLE)["one"]
    better = corrected_resampled_t(0.02 + WOBBLE, 5, alternative="greater")
    assert (found.p_better, found.interval) == (pytest.approx(better.p), pytest.approx(better.interval))
    assert found.p_better + found.p_worse == pytest.approx(1)


def test_more_candidates_make_a_verdict_harder():
    by = 0.032 + WOBBLE
    assert asked(one=by)["one"].verdict == "better"
    assert asked(one=by, two=WOBBLE, three=WOBBLE, four=WOBBLE)["one"].verdict == "can't tell"


def test_a_direction_read_off_the_scores_counts_twice():
    pairs = {"one": ("two", LOW + 0.02 + WOBBLE, LOW)}
    plain, ordered = compare_all(pairs, 5)["one"], compare_all(pairs, 5, ordered=True)["one"]
    assert ordered.p_better == pytest.approx(2 * plain.p_better)
    assert ordered.p_worse == 1


def test_equal_differences_leave_it_open():
    found = asked(one=np.full(5, 0.25), same=np.zeros(5))
    assert found["one"].verdict == "can't tell"
    assert np.isnan(found["one"].p_better)
    assert found["same"].p_better == 1


def test_nobody_to_compare_is_no_error():
    assert compare_all({}, 5) == {}
