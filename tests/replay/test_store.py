import os

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_transfer.replay.shapes import Shape
from hf_transfer.replay.store import FeatureStore, create_store, store_bytes, store_shape

CPU = torch.device("cpu")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def by_token(dtype=torch.float32):
    return Shape(((1, True, False), (1, False, True), (3, False, False)), dtype)


def by_row(dtype=torch.float32):
    return Shape(((1, True, False), (2, False, False), (3, False, False)), dtype)


def rows_for(shape, sizes, num_views):
    """Random features of every row in every view."""
    return [
        [torch.randn(shape.at(1, int(size))[1:]).to(shape.dtype) for size in sizes] for _ in range(num_views)
    ]


def padded(rows, filling=0.0):
    """Rows of unequal length as a batch."""
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=filling)


def filled(path, shape, sizes, num_views=1):
    """A store, and what was written to it in blocks in another order, with numbers in the padding."""
    rows = rows_for(shape, sizes, num_views)
    create_store(path, shape, sizes, num_views)
    store = FeatureStore(path, shape, sizes, num_views, writable=True)
    for view in range(num_views):
        for block in np.array_split(np.arange(len(sizes))[::-1], 3):
            if len(block):
                store.write(block, padded([rows[view][i] for i in block], filling=7.0), view)
    store.flush()
    return FeatureStore(path, shape, sizes, num_views), rows


def same_bits(found, wanted):
    return found.dtype == wanted.dtype and found.shape == wanted.shape and torch.equal(found, wanted)


@given(data=st.data())
@settings(deadline=None, max_examples=15)
@pytest.mark.parametrize("make", [by_token, by_row])
def test_what_was_written_is_read_to_the_bit(tmp_path_factory, make, data):
    shape = make(data.draw(st.sampled_from(DTYPES)))
    sizes = np.array(data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=8)), np.int64)
    num_views = data.draw(st.integers(1, 3))
    store, rows = filled(tmp_path_factory.mktemp("store") / "a.npy", shape, sizes, num_views)
    places = st.tuples(st.integers(0, len(sizes) - 1), st.integers(0, num_views - 1))
    wanted = data.draw(st.lists(places, min_size=1, max_size=10))
    positions, views = np.array(wanted, np.int64).T.copy()
    expected = padded([rows[view][position] for position, view in wanted])
    assert same_bits(store.read(positions, views), expected)
    store.load_to(CPU)
    assert same_bits(store.read(positions, views), expected)
    assert store.num_bytes == store_bytes(shape, sizes, num_views)


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_that_are_none_come_back_too(tmp_path, dtype):
    sizes = np.array([3, 1], np.int64)
    create_store(tmp_path / "a.npy", by_token(dtype), sizes, 1)
    store = FeatureStore(tmp_path / "a.npy", by_token(dtype), sizes, writable=True)
    odd = torch.tensor([float("nan"), float("inf"), -0.0], dtype=dtype)
    store.write(np.array([0, 1]), odd.expand(2, 3, 3))
    for _ in range(2):
        found = store.read(np.array([1]), np.array([0]))
        assert found.dtype == dtype
        assert bool(found[0, 0, 0].isnan())
        assert bool(found[0, 0, 1].isinf())
        assert bool(found[0, 0, 2].signbit())
        store.load_to(CPU)


def test_a_row_is_written_without_touching_others(tmp_path):
    sizes = np.array([2, 5, 3], np.int64)
    store, rows = filled(tmp_path / "a.npy", by_token(), sizes, 2)
    again = FeatureStore(store.path, by_token(), sizes, 2, writable=True)
    again.write(np.array([1]), torch.ones(1, 9, 3), 1)
    for view in (0, 1):
        for row, wanted in enumerate(rows[view]):
            expected = torch.ones(5, 3) if (view, row) == (1, 1) else wanted
            assert torch.equal(again.read(np.array([row]), np.array([view]))[0], expected)


def test_a_store_holds_nothing_for_padding():
    sizes = np.array([2, 5, 3], np.int64)
    assert store_shape(by_token(), sizes, 2) == (2, 10, 3)
    assert store_shape(by_row(), sizes, 2) == (2, 3, 2, 3)
    assert store_bytes(by_token(torch.bfloat16), sizes, 2) == 2 * 10 * 3 * 2


def test_a_new_store_has_its_disk_space(tmp_path):
    create_store(tmp_path / "new" / "a.npy", by_row(), np.zeros(1000, np.int64), 1)
    found = (tmp_path / "new" / "a.npy").stat()
    assert found.st_blocks * 512 >= found.st_size > store_bytes(by_row(), np.zeros(1000, np.int64), 1)


@pytest.mark.parametrize(
    ("left", "message"),
    [
        (0.99, r"mmap length is greater than file size"),
        (0.5, r"mmap length is greater than file size"),
        (0.02, r"EOF: reading array header|Cannot load file|magic string"),
    ],
)
def test_a_file_that_is_cut_off_is_noticed(tmp_path, left, message):
    sizes = np.full(20, 4, np.int64)
    store, _ = filled(tmp_path / "a.npy", by_token(), sizes)
    os.truncate(store.path, int(store.path.stat().st_size * left))
    with pytest.raises(ValueError, match=message):
        FeatureStore(store.path, by_token(), sizes)


@pytest.mark.parametrize(
    ("shape", "sizes", "num_views"),
    [
        (by_token(), [2, 6, 3], 1),
        (by_token(), [2, 5, 3], 2),
        (by_row(), [2, 5, 3], 1),
        (by_token(torch.bfloat16), [2, 5, 3], 1),
    ],
)
def test_a_file_made_for_something_else_is_noticed(tmp_path, shape, sizes, num_views):
    store, _ = filled(tmp_path / "a.npy", by_token(), np.array([2, 5, 3], np.int64))
    with pytest.raises(ValueError, match=r"a\.npy has another shape or type"):
        FeatureStore(store.path, shape, np.array(sizes, np.int64), num_views)
