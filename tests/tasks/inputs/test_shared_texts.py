"""Rows of several texts that must share a fold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_transfer import RunConfig
from hf_transfer.tasks.inputs.input import Links
from hf_transfer.tasks.inputs.shared_texts import (
    connected,
    keep_together,
    shared_with_test,
    similar_pairs,
    text_links,
)

NAMES = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("ABCDEFGH")), min_size=1, max_size=12)


def links(columns, noun="text"):
    return Links(noun, columns)


def components(pairs, given=None, **settings):
    found = keep_together(links([*map(list, zip(*pairs, strict=True))]), given, RunConfig(**settings))
    return None if found is None else found.groups


def by_hand(keys):
    """The component of each row, from its keys, by joining sets until nothing changes."""
    groups = [{*key} for key in keys]
    while True:
        joined = [set().union(*(other for other in groups if other & one)) for one in groups]
        if joined == groups:
            return [min(row for row, other in enumerate(groups) if other == one) for one in groups]
        groups = joined


def same_partition(one, other):
    return len({*zip(one, other, strict=True)}) == len({*one}) == len({*other})


@given(NAMES, st.data())
def test_rows_are_joined_as_by_hand(pairs, data):
    named = data.draw(st.lists(st.sampled_from("xyz"), min_size=len(pairs), max_size=len(pairs)))
    lower = [tuple(text.lower() for text in pair) for pair in pairs]
    keys = [{*pair, f"group {name}"} for pair, name in zip(lower, named, strict=True)]
    places = text_links([*zip(*pairs, strict=True)])
    numbers = np.unique(named, return_inverse=True)[1]
    assert same_partition(connected(len(pairs), *places).tolist(), by_hand(lower))
    assert same_partition(connected(len(pairs), *places, numbers).tolist(), by_hand(keys))


def test_a_text_counts_in_either_place_whatever_its_case_and_spaces():
    groups = components([("A  dog", "x"), ("y", "a dog"), ("z", "w"), ("v", "u"), ("s", "t")])
    assert groups == ["0", "0", "1", "2", "3"]


def test_groups_by_a_column_are_joined_with_those_by_texts():
    pairs = [("a", "b"), ("a", "c"), ("d", "e"), ("f", "g"), ("h", "i"), ("j", "k"), ("l", "m")]
    assert components(pairs, list("uvvwxyz")) == ["0", "0", "0", "1", "2", "3", "4"]


def test_where_nothing_is_shared_nothing_is_kept_together():
    assert components([("a", "b"), ("c", "d")]) is None


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"shared_texts": "apart"}, "may be in several folds, as shared_texts=apart asks"),
        ({"scheme": "random"}, "are split by scheme=random all the same"),
        ({"time_by": "day"}, "are split by time_by all the same"),
    ],
)
def test_the_price_is_told_where_they_are_parted(settings, why):
    found = keep_together(links([["a", "a", "b"], ["c", "d", "e"]]), None, RunConfig(**settings))
    assert found.groups is None
    assert found.notes == (
        f"2 rows of 3 share a text with another row and {why}: models may know it from training, so that "
        "scores may be too good.",
    )


def test_rows_that_lack_a_text_share_none():
    assert keep_together(links([[None, None, "a"]]), None, RunConfig()) is None
    assert shared_with_test(links([[None, "a"]]), links([[None, "b"]])) == ()


@given(NAMES, NAMES)
def test_test_rows_that_share_a_text_are_counted_as_by_hand(train, test):
    known = {text.lower() for pair in train for text in pair}
    sharing = [{text.lower() for text in pair} & known for pair in test]
    found = shared_with_test(links([*zip(*train, strict=True)]), links([*zip(*test, strict=True)]))
    assert len(found) == any(sharing)
    if found:
        rows = sum(map(bool, sharing))
        words = f"{rows} test row{'s' * (rows > 1)} of {len(test)} share a text with a row to train on ("
        assert found[0].startswith(f"{words}{len(set().union(*sharing))} text")


def test_what_was_found_is_told_in_numbers():
    found = keep_together(links([list("aabc"), list("defg")]), None, RunConfig())
    assert found.notes == (
        "2 rows of 4 share a text with another row and are kept together: all rows form 3 groups, the "
        "largest of 2 rows (50.0%).",
    )


def test_a_premise_of_all_rows_does_not_make_them_one_group():
    second = [f"hypothesis {row // 2}" for row in range(100)]
    found = keep_together(links([["the same premise"] * 100, second]), None, RunConfig())
    assert len({*found.groups}) == 50
    assert found.notes[0].startswith(
        "100 rows of 100 share a text with another row. That would keep 100% of the rows in one fold, so 1 "
        "text that stands in more than 2 rows did not count, and 100 rows may share one with another "
        "fold. The rows form 50 groups, the largest of 2 rows"
    )


def test_a_chain_is_cut_at_its_commonest_texts():
    """Each premise has four rows; two hypotheses, said of every other premise, link them all."""
    first = [f"premise {row // 4}" for row in range(200)]
    second = [("yes", "no")[row // 4 % 2] if row % 4 == 0 else f"own {row}" for row in range(200)]
    first[0] = "no"  # which joins the two
    found = keep_together(links([first, second]), None, RunConfig(num_folds=5))
    sizes = np.unique(found.groups, return_counts=True)[1]
    assert sizes.max() <= 200 / 5
    assert "did not count" in found.notes[0]


def test_pairs_are_alike_only_where_both_texts_are():
    long = "a long premise that is the same but for a letter of its many words"
    pairs = [(long, "it rains"), (f"{long}s", "it rains"), (long, "the sun shines"), ("other", "it rains")]
    assert similar_pairs(pairs) == [[0, 1]]
