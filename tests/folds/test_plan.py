import numpy as np
import pytest

from hf_transfer.errors import FoldError
from hf_transfer.folds import FoldColumns, plan_folds
from hf_transfer.folds.plan import FoldPlan


def stratified():
    return plan_folds(range(10), 3, seed=0, columns=FoldColumns(labels=[0] * 6 + [1] * 4))


def by_hand(permutation, **more):
    return FoldPlan("random", 2, np.array(permutation), contiguous=True, num_rows=3, seed=0, **more)


def test_a_plan_needs_the_permutation_and_the_flag_only():
    plan = by_hand([1, 0, 2])
    assert [plan.valid(0).tolist(), plan.train(0).tolist()] == [[1, 0], [2]]


def test_filling_is_no_row():
    plan = by_hand([1, 0, 2, -1])
    assert [plan.valid(1).tolist(), plan.train(0).tolist()] == [[2], [2]]


def test_untrained_entries_are_left_out():
    plan = by_hand([1, 0, 2], untrained=((0, 2), (1, 3)))
    assert [plan.train(0).tolist(), plan.train(1).tolist()] == [[2], [1]]


def test_fingerprint_names_the_split():
    uids = [f"row {i}" for i in range(20)]
    columns = FoldColumns(labels=[0, 1] * 10, times=range(20))

    def fingerprint(num_folds=4, seed=0, scheme="stratified", gap=0, ids=uids):
        wanted = FoldColumns(labels=columns.labels, times=columns.times, gap=gap)
        return plan_folds(uids, num_folds, seed=seed, columns=wanted, scheme=scheme).fingerprint(ids)

    prints = [
        fingerprint(),
        fingerprint(num_folds=5),
        fingerprint(seed=1),
        fingerprint(scheme="random"),
        fingerprint(scheme="time"),
        fingerprint(scheme="time", gap=1),
        fingerprint(scheme="walk-forward"),
        fingerprint(ids=[uid.upper() for uid in uids]),
    ]
    assert len(set(prints)) == len(prints)


def test_fingerprint_is_the_same_everywhere():
    expected = "43e6a21d3d1f14482a390a6873b155b94ed7053e9dee8efd0d3e5cef6a4f1c74"
    assert stratified().fingerprint(range(10)) == expected


def test_fingerprint_needs_an_id_for_each_row():
    with pytest.raises(FoldError, match="Expected an id for each of 10 rows, got 9"):
        stratified().fingerprint(range(9))
