import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_transfer.folds.greedy import balance_classes, balance_mentions, balance_sizes

quick = settings(max_examples=40, deadline=None)
folds_and_units = st.integers(2, 5).flatmap(
    lambda k: st.tuples(st.just(k), st.integers(k, 40), st.integers(0, 99))
)


def test_the_largest_unit_goes_first_to_the_emptiest_fold():
    assert balance_sizes(np.array([1, 5, 2, 2]), 2).tolist() == [1, 0, 1, 1]


def test_units_of_equal_size_take_turns():
    assert balance_sizes(np.ones(6, np.int64), 3).tolist() == [0, 1, 2, 0, 1, 2]


def test_each_class_is_balanced():
    units = np.repeat(np.arange(8), 2)
    classes = np.repeat([0, 0, 0, 0, 1, 1, 1, 1], 2)
    folds = balance_classes(units, classes, 4)
    assert sorted(folds[:4].tolist()) == sorted(folds[4:].tolist()) == [0, 1, 2, 3]


def test_a_rare_class_weighs_as_much_as_a_common_one():
    # Four units of 20 rows with 2 of the rare class each, among sixteen without.
    units = np.repeat(np.arange(20), 20)
    classes = np.zeros(400, np.int64)
    for unit in range(4):
        classes[unit * 20 : unit * 20 + 2] = 1
    assert sorted(balance_classes(units, classes, 4)[:4].tolist()) == [0, 1, 2, 3]


def test_mentions_of_the_rarest_type_go_first():
    counts = np.array([[9, 0], [9, 0], [1, 1], [1, 1]])
    folds = balance_mentions(counts, np.ones(4, np.int64), 2)
    assert folds[2] != folds[3]
    assert folds[0] != folds[1]


def test_units_without_mentions_fill_the_room_left():
    counts = np.array([[4], [2], [2], [0], [0], [0]])
    folds = balance_mentions(counts, np.ones(6, np.int64), 2)
    assert np.bincount(folds, weights=counts[:, 0]).tolist() == [4, 4]
    assert np.bincount(folds).tolist() == [3, 3]


@quick
@given(folds_and_units)
def test_no_fold_is_empty(case):
    num_folds, num_units, seed = case
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 9, num_units)
    classes = random.integers(0, 3, sizes.sum())
    _, classes = np.unique(classes, return_inverse=True)
    every = set(range(num_folds))
    assert set(balance_sizes(sizes, num_folds).tolist()) == every
    assert set(balance_classes(np.repeat(np.arange(num_units), sizes), classes, num_folds).tolist()) == every
    assert set(balance_mentions(random.poisson(0.3, (num_units, 4)), sizes, num_folds).tolist()) == every
