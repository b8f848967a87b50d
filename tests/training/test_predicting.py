import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_transfer.training.predicting import RowLogits


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=30), st.randoms())
def test_logits_by_row_are_the_lines_of_its_parts_as_they_follow(encoded, random):
    """Each encoded row is (row, number of lines); they come back in any order."""
    order = list(range(len(encoded)))
    random.shuffle(order)
    rows, lengths = (np.array([encoded[i][part] for i in order]) for part in (0, 1))
    lines = np.concatenate([np.full((encoded[i][1], 2), i) for i in order])
    found = RowLogits(rows, lengths, lines, np.lexsort((order, rows)))
    own = [(one, i) for i, (one, n) in enumerate(encoded) for _ in range(n)]
    expected = {row: [i for one, i in own if one == row] for row in rows}
    assert {row: found[row][:, 0].tolist() for row in found} == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize("row", [-1, 1, 3])
def test_a_row_without_logits_is_a_key_error(row):
    found = RowLogits(np.array([0, 2]), np.array([1, 1]), np.zeros((2, 3)), np.array([0, 1]))
    with pytest.raises(KeyError, match=str(row)):
        found[row]
