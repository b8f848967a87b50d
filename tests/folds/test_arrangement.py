import numpy as np
import pytest

from hf_transfer.errors import FoldError
from hf_transfer.folds.arrangement import RowsToSplit, arrange
from hf_transfer.folds.columns import FoldColumns


def split(scheme, **columns):
    return RowsToSplit(scheme, 0, np.arange(6), FoldColumns(**columns))


def test_a_column_that_the_scheme_does_not_use_may_have_gaps():
    assert arrange(split("random", groups=[None] * 6), 2).permutation.tolist() == [0, 1, 2, 3, 4, 5]


def test_equal_folds_need_no_filling():
    plan = arrange(split("predefined", folds=[1, 0, 1, 0, 1, 0]), 2)
    assert plan.permutation.tolist() == [1, 3, 5, 0, 2, 4]


def test_unequal_folds_are_filled_up_to_the_largest():
    plan = arrange(split("predefined", folds=[1, 1, 1, 0, 1, 2]), 3)
    assert plan.permutation.tolist() == [3, -1, -1, -1, 0, 1, 2, 4, 5, -1, -1, -1]


def test_a_smaller_fold_before_a_larger_one_is_filled_up():
    plan = arrange(split("predefined", folds=[0, 0, 1, 1, 1, 1]), 2)
    assert plan.permutation.tolist() == [0, 1, -1, -1, 2, 3, 4, 5]


def test_one_predefined_fold_is_refused():
    with pytest.raises(FoldError, match="All 6 rows are in one predefined fold"):
        arrange(split("predefined", folds=["a"] * 6), 1)


def test_untrained_entries_reach_over_block_gap_and_equal_times():
    plan = arrange(split("time", times=[0, 1, 1, 1, 4, 5]), 3)
    assert plan.untrained == ((0, 4), (1, 4), (4, 6))


def test_walking_forward_leaves_out_all_that_is_later():
    plan = arrange(split("walk-forward", times=range(6), gap=1), 3)
    assert plan.untrained == ((0, 6), (1, 6), (3, 6))


def test_lacking_names_entity_types():
    rows = split("entity", counts=np.array([[1, 1]] + [[0, 1]] * 5), label_names=["place", "person"])
    notes = rows.lacking(np.array([0, 1, 0, 1, 0, 1]), range(2))
    assert (
        "every entity type, and a fold is scored without those it lacks: 'place' (1 mention) is in 1 of 2"
        in notes[0]
    )


def test_a_class_in_the_block_that_is_never_held_out_was_trained_on():
    rows = split("walk-forward", labels=[0, 0, 1, 1, 1, 1], times=range(6))
    assert rows.lacking(np.array([-1, -1, 1, 1, 2, 2]), range(1, 3)) == (
        "Not every fold has every class, and a fold is scored without those it lacks: "
        "0 (2 rows) is in 0 of 2.",
    )
