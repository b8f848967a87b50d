import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from hf_transfer.folds.order import derive_seed, hash_key, hash_order


def test_key_is_the_published_one():
    assert hash_key(0, 0) == 15378838894278201442


def test_order_is_the_published_one():
    assert hash_order(range(10), 0).tolist() == [3, 7, 9, 8, 5, 4, 2, 6, 0, 1]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.text())
def test_key_is_blake2b_of_seed_and_id(seed, uid):
    digest = hashlib.blake2b(f"{seed}:{uid}".encode(), digest_size=8).digest()
    assert hash_key(seed, uid) == int.from_bytes(digest, "big")


def test_rows_with_equal_ids_stay_in_order():
    order = hash_order(["a", "b", "a", "b", "a"], 0).tolist()
    assert [row for row in order if row % 2 == 0] == [0, 2, 4]
    assert sorted(order[:2]) in ([0, 2], [1, 3])


def test_an_id_with_half_a_surrogate_pair_has_a_key():
    assert hash_key(0, "photo\udce9.jpg") != hash_key(0, "photo.jpg")


def test_derived_seeds_are_pinned():
    assert [derive_seed(0), derive_seed(0, "fold", 0, 1), derive_seed(7, "inner")] == [
        872845860,
        1831627819,
        2224436177,
    ]


def test_derived_seeds_differ_and_fit_in_32_bits():
    seeds = {
        derive_seed(seed, "fold", repeat, fold)
        for seed in range(5)
        for repeat in range(5)
        for fold in range(10)
    }
    assert len(seeds) == 250
    assert all(0 <= seed < 2**32 for seed in seeds)
