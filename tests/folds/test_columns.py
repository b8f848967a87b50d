import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_transfer.errors import FoldError
from hf_transfer.folds.columns import (
    FoldColumns,
    choose_scheme,
    pick,
    read_codes,
    read_counts,
    read_ranks,
    read_times,
)

ORDER = np.array([2, 0, 1])
THREE = {
    "labels": [0, 1, 0],
    "groups": ["a", "b", "a"],
    "times": [1, 2, 3],
    "folds": [0, 1, 0],
    "counts": np.ones((3, 2), int),
}


@pytest.mark.parametrize(
    ("names", "scheme"),
    [
        ("", "random"),
        ("labels", "stratified"),
        ("counts", "entity"),
        ("groups", "group"),
        ("groups counts", "entity"),
        ("groups labels", "stratified-group"),
        ("labels times", "time"),
        ("labels groups times folds", "predefined"),
    ],
)
def test_auto_goes_by_the_columns(names, scheme):
    assert choose_scheme(FoldColumns(**{name: THREE[name] for name in names.split()})) == scheme


def test_a_scheme_that_is_asked_for_is_taken():
    assert choose_scheme(FoldColumns(**THREE), "random") == "random"


def test_a_scheme_needs_its_columns():
    with pytest.raises(
        FoldError, match="scheme='stratified-group' splits by groups and labels, not given here"
    ):
        choose_scheme(FoldColumns(), "stratified-group")


def test_an_unknown_scheme_shows_the_known():
    with pytest.raises(
        FoldError, match=r"Unknown scheme 'kfold'\. Choose from auto, random, stratified, group"
    ):
        choose_scheme(FoldColumns(), "kfold")


def test_a_column_that_is_not_given_cannot_be_required():
    with pytest.raises(FoldError, match="No times were given"):
        FoldColumns().require("times")


def test_columns_have_an_entry_for_each_row():
    with pytest.raises(FoldError, match="Expected one of groups for each of 4 rows, got 3"):
        FoldColumns(groups=["a", "b", "a"]).check(4)


def test_a_gap_is_not_negative():
    with pytest.raises(FoldError, match="gap must be 0 or more rows, got -1"):
        FoldColumns(times=[1, 2], gap=-1).check(2)


def test_a_gap_needs_times():
    with pytest.raises(FoldError, match="gap=3 needs times"):
        FoldColumns(gap=3).check(2)


def test_taking_rows_keeps_names_and_gap():
    taken = FoldColumns(**THREE, label_names=("x", "y"), gap=2).take(np.array([2, 1]))
    assert (taken.groups, taken.label_names, taken.gap) == (["a", "b"], ("x", "y"), 2)
    assert np.asarray(taken.counts).shape == (2, 2)


def test_values_are_numbered_in_the_order_of_the_hash():
    codes = read_codes(["ant", "bee", "wasp"], "labels", ORDER)
    assert codes.ids.tolist() == [1, 2, 0]
    assert codes.values == ["wasp", "ant", "bee"]
    assert codes.sizes.tolist() == [1, 1, 1]


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=30), st.randoms())
def test_whole_numbers_in_an_array_are_read_as_those_in_a_list(values, random):
    order = np.array(random.sample(range(len(values)), len(values)))
    listed, array = (read_codes(column, "labels", order) for column in (values, np.array(values)))
    assert listed.ids.tolist() == array.ids.tolist()
    assert (listed.values, listed.sizes.tolist()) == (array.values, array.sizes.tolist())
    assert read_ranks(values, "groups").tolist() == read_ranks(np.array(values), "groups").tolist()
    assert list(pick(values, order)) == pick(np.array(values), order).tolist()


@pytest.mark.parametrize("missing", [None, float("nan"), "", "  ", np.datetime64("NaT", "s")])
def test_missing_values_are_refused(missing):
    with pytest.raises(FoldError, match="1 row of 3 without a value in groups; the first is row 1"):
        read_codes(["ann", missing, "bob"], "groups", ORDER)


@pytest.mark.parametrize("values", [[[0], [1], [0]], np.zeros((3, 2))])
def test_lists_are_refused(values):
    with pytest.raises(FoldError, match="Each row needs a single value in labels, got lists or arrays"):
        read_codes(values, "labels", ORDER)


@pytest.mark.parametrize(
    "times",
    [
        [10, 9, 11.5],
        [datetime.date(2024, 2, 1), datetime.date(2024, 1, 31), datetime.date(2025, 1, 1)],
        np.array(["2024-02-01", "2024-01-31", "2025-01-01"], "datetime64[ns]"),
        ["2024-02-01", "2024-01-31", "2025-01-01"],
        ["2024-01-01T00:30+02:00", "2023-12-31T22:00+00:00", "2024-01-01T00:00+00:00"],
    ],
)
def test_times_of_any_kind_are_ordered(times):
    assert read_times(times).tolist() == [1, 0, 2]


def test_equal_times_are_one_moment():
    assert read_times([3, 1, 3]).tolist() == [1, 0, 1]


@pytest.mark.parametrize("text", ["31/01/2024", "9", "January"])
def test_text_that_is_no_date_is_refused(text):
    with pytest.raises(FoldError, match=f"times has {text!r}, which is no date in ISO 8601 form"):
        read_times(["2024-01-31", text])


def test_times_of_two_kinds_are_refused():
    with pytest.raises(FoldError, match="Values of times cannot be put in order; they are of type int, str"):
        read_times([1, "2024-01-31"])


@pytest.mark.parametrize("counts", [[1, 2], [[0.5]], [[-1]]])
def test_counts_are_a_table_of_whole_numbers(counts):
    with pytest.raises(
        FoldError, match="counts must be whole numbers from 0, a row each and a column each type"
    ):
        read_counts(counts)


@pytest.mark.parametrize(
    ("label", "name"), [(1, "'bee'"), (np.int64(0), "'ant'"), (2, "2"), ("wasp", "'wasp'")]
)
def test_messages_name_labels(label, name):
    assert FoldColumns(label_names=["ant", "bee"]).name(label) == name
