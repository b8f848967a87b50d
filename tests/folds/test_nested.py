import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_transfer.errors import FoldError
from hf_transfer.folds import FoldColumns, nested_rows

PERCENTS = (10, 20, 40, 80, 100)


def parts(rows, columns: FoldColumns, uids=None, seed: int = 0) -> list[np.ndarray]:
    uids = list(range(int(max(rows)) + 1)) if uids is None else uids
    return [nested_rows(rows, p, uids=uids, seed=seed, columns=columns) for p in PERCENTS]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=20, max_size=120), st.integers(0, 9))
def test_each_part_is_within_the_next_and_has_the_classes_in_their_shares(labels, seed):
    labels = np.asarray(labels)
    rows = np.arange(0, len(labels), 1)[::-1].copy()
    found = parts(rows, FoldColumns(labels=labels), seed=seed)
    for percent, small, large in zip(PERCENTS, found, [*found[1:], np.sort(rows)], strict=True):
        assert set(small) <= set(large)
        assert abs(len(small) - max(2, len(rows) * percent / 100)) <= 1
        share = len(small) / len(rows)
        for kind in np.unique(labels):
            assert abs((labels[small] == kind).sum() - share * (labels == kind).sum()) < 4
        if len(small) >= len(np.unique(labels)):
            assert set(labels[small]) == set(labels)
    assert sorted(found[-1]) == sorted(rows)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=12, max_size=80), st.integers(0, 9))
def test_groups_are_taken_whole(groups, seed):
    groups = np.asarray(groups)
    rows, largest = np.arange(len(groups)), np.bincount(groups).max()
    found = parts(rows, FoldColumns(labels=groups % 2, groups=groups), seed=seed)
    for percent, part, more in zip(PERCENTS, found, [*found[1:], rows], strict=True):
        assert set(part) <= set(more)
        assert not set(groups[part]) & set(groups[np.setdiff1d(rows, part)])
        assert abs(len(part) - max(2, len(rows) * percent / 100)) <= max(2, largest)


def test_the_order_of_the_rows_does_not_matter_but_their_ids_do():
    uids, labels = [f"row {i}" for i in range(60)], np.arange(60) % 3
    order = np.random.default_rng(0).permutation(60)
    straight = nested_rows(np.arange(60), 20, uids=uids, seed=0, columns=FoldColumns(labels=labels))
    mixed = nested_rows(
        np.arange(60), 20, uids=[uids[i] for i in order], seed=0, columns=FoldColumns(labels=labels[order])
    )
    assert {uids[i] for i in straight} == {uids[order[i]] for i in mixed}
    other = nested_rows(np.arange(60), 20, uids=uids, seed=1, columns=FoldColumns(labels=labels))
    assert set(other) != set(straight)


def test_a_rare_type_of_mention_is_there_from_the_start():
    counts = np.zeros((50, 2), np.int64)
    counts[:, 0] = 1
    counts[[7, 31], 1] = 1
    part = nested_rows(np.arange(50), 10, uids=range(50), seed=0, columns=FoldColumns(counts=counts))
    assert counts[part, 1].sum() >= 1


@pytest.mark.parametrize(("percent", "rows"), [(0, 10), (101, 10), (50, 1)])
def test_what_cannot_be_taken_is_said(percent, rows):
    with pytest.raises(FoldError, match=f"percent must be from 1 to 100.*got {percent} of {rows}"):
        nested_rows(np.arange(rows), percent, uids=range(rows), seed=0, columns=FoldColumns())
