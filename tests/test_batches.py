from itertools import pairwise, permutations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_transfer.batches import cut_by_size

sizes_of_a_batch = st.lists(st.integers(1, 200), min_size=1, max_size=40).map(np.array)


def cost(sizes, parts, overhead):
    return sum(len(part) * sizes[part].max() + overhead for part in parts)


@settings(max_examples=60, deadline=None)
@given(sizes_of_a_batch, st.integers(1, 300))
def test_parts_hold_every_row_once_and_cost_no_more_than_one_pass(sizes, overhead):
    parts = cut_by_size(sizes, overhead)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(sizes)))
    assert cost(sizes, parts, overhead) <= cost(sizes, [np.arange(len(sizes))], overhead)
    assert all(sizes[a].max() <= sizes[b].min() for a, b in pairwise(parts))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=5).map(np.array), st.integers(1, 60))
def test_no_other_cut_costs_less(sizes, overhead):
    found = cost(sizes, cut_by_size(sizes, overhead), overhead)
    for order in permutations(range(len(sizes))):
        for marks in range(2 ** (len(sizes) - 1)):
            cuts = [i + 1 for i in range(len(sizes) - 1) if marks >> i & 1]
            assert found <= cost(sizes, np.split(np.array(order), cuts), overhead)


def test_rows_of_one_size_stay_together():
    assert len(cut_by_size(np.full(32, 128), 100)) == 1
