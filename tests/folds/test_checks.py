import numpy as np
import pytest

from hf_transfer.errors import FoldError
from hf_transfer.folds.checks import Limit, few_to_learn, fit_num_folds, limit_groups, what_folds_lack
from hf_transfer.folds.columns import Codes

ROWS = Limit(8, "there are 8 rows")
RARE = Limit(1, "class 'bee' has 1 row")


@pytest.mark.parametrize("num_folds", [2, 8, np.int64(5)])
def test_what_is_allowed_is_kept(num_folds):
    for strict in (True, False):
        assert fit_num_folds(num_folds, [ROWS], strict=strict) == (num_folds, ())


def test_the_tightest_limit_is_named():
    limits = [ROWS, Limit(3, "there are 3 groups")]
    assert fit_num_folds(9, limits, strict=False) == (
        3,
        ("num_folds lowered from 9 to 3: there are 3 groups.",),
    )


def test_a_limit_that_nothing_meets_is_passed_over():
    assert fit_num_folds(5, [ROWS, RARE], strict=False) == (5, ())


def test_one_fold_is_raised_to_two():
    assert fit_num_folds(1, [ROWS], strict=False) == (
        2,
        ("num_folds raised from 1 to 2: one part is held out, another is trained on.",),
    )


def test_one_fold_is_refused_when_strict():
    with pytest.raises(
        FoldError, match=r"num_folds=1 is too few: one part is held out\. It must be from 2 to 8\."
    ):
        fit_num_folds(1, [ROWS], strict=True)


def test_rows_of_one_group_cannot_be_split():
    group = Codes(np.zeros(3, np.int64), ["ann"], np.array([3]))
    with pytest.raises(FoldError, match="All 3 rows are in one group, ann, and a group stays in one fold"):
        limit_groups(group)


def test_nothing_is_said_when_nothing_lacks():
    assert (
        what_folds_lack(np.array([[1, 2, 0], [0, 0, 0]]), range(2), ["ant", "none"], ("class", "row")) == ()
    )


def test_a_long_list_is_cut():
    table = np.tile([2, 0, 1], (7, 1))
    (note,) = what_folds_lack(table, range(2), list("abcdefg"), ("class", "row"))
    assert note.endswith("e (3 rows) is in 1 of 2 and 2 more.")


def test_few_training_rows_of_a_class_are_said_with_what_one_draw_is_worth():
    (said,) = few_to_learn(np.array([9, 3, 1]), ["ant", "bee", "cow"])
    assert "fewer than 5 rows of a class: cow (1 row), bee (3 rows)." in said
    assert "one draw of 1 row a class was ±8.6 points off" in said
    (said,) = few_to_learn(np.array([9, 3]), ["ant", "bee"])
    assert "one draw of 2 rows a class was ±6.7 points off" in said


def test_enough_rows_of_each_class_are_not_spoken_of():
    (said,) = few_to_learn(np.array([5, 90]), ["ant", "bee"])
    assert "fewer than 20 rows of a class: hf-transfer shots has solvers" in said
    assert few_to_learn(np.array([20, 90]), ["ant", "bee"]) == ()
    assert few_to_learn(np.array([0, 90]), ["ant", "bee"]) == ()  # which the folds' own note names
