import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_transfer.errors import DataError
from hf_transfer.machine.wording import count, some
from hf_transfer.tasks.targets.labels import LabelColumn, name_labels

NAN = float("nan")


def column(values, declared=None, where="column 'label'"):
    return LabelColumn(values, where, declared)


def named(*columns):
    return name_labels([column(*c) if isinstance(c, tuple) else column(c) for c in columns])


@given(st.lists(st.sampled_from([0, 1, 2, 10, 33]), min_size=2).filter(lambda v: len(set(v)) > 1))
def test_the_same_labels_get_the_same_ids_in_every_storage(values):
    names = tuple(str(value) for value in sorted(set(values)))
    expected = [names.index(str(value)) for value in values]
    for stored in (values, [str(v) for v in values], [float(v) for v in values], [f"{v}.0" for v in values]):
        result = named(stored)
        assert (result.names, result.ids[0]) == (names, expected)
    assert named((expected, names)).ids[0] == expected


@given(st.permutations(["b", "a", "c", "a"]))
def test_names_do_not_depend_on_the_order_of_rows(values):
    result = named(values)
    assert result.names == ("a", "b", "c")
    assert [result.names[i] for i in result.ids[0]] == values


def test_whole_numbers_are_sorted_by_value_and_names_as_text():
    assert named([10, 9, -1]).names == ("-1", "9", "10")
    assert named(["10", "9", "x"]).names == ("10", "9", "x")


def test_leading_zeros_stay():
    assert named(["007", "7"]).names == ("007", "7")


def test_truth_values_are_named():
    assert named([True, False]).names == ("False", "True")


def test_the_words_null_and_na_are_labels():
    assert named(["null", "NA", "nan"]).names == ("NA", "nan", "null")


def test_declared_names_keep_their_order():
    result = named(([1, 0], ("zebra", "ant")))
    assert (result.names, result.ids[0]) == (("zebra", "ant"), [1, 0])


def test_names_come_from_the_test_rows_too():
    result = named(["a", "c"], ["b", "a"])
    assert (result.names, result.ids) == (("a", "b", "c"), ([0, 2], [1, 0]))
    assert result.notes == ("Only the test split has rows of 'b'; they cannot be learned.",)


def test_texts_are_matched_to_the_names_that_another_split_declares():
    assert named(([1, 0], ("b", "a")), ["a", "b"]).ids == ([1, 0], [1, 0])


def test_a_declared_name_without_rows_is_said():
    assert named(([1, 0], ("a", "b", "c"))).notes == (
        "No row has the label 'c', though the dataset declares it.",
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a", None, "b"], "1 row without a label in column 'label': row 1 .the first is row 0."),
        ([1.0, NAN, 2.0, NAN], "2 rows without a label in column 'label': rows 1, 3 "),
        (["a", " ", "b", ""], "2 rows without a label"),
        ([0.5, 1.0], "Row 0 has the label 0.5 .* classes are names or whole numbers.*--target numbers"),
        (["1.5", "2.0"], "Row 0 has the label 1.5"),
        ([float("inf"), 1.0], "the label inf"),
        (["Pos", "pos", "neg"], "Labels 'Pos' and 'pos' in column 'label' differ only in case or spaces"),
        (["pos ", "pos", "neg"], "Labels 'pos' and 'pos ' .* differ only"),
        (["a", "a"], "All 2 rows have the label 'a' .* two classes or more"),
        ([[0, 1], [1]], "Labels in column 'label' are of type list, e.g. .0, 1.; a class is one text"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(values, message):
    with pytest.raises(DataError, match=message):
        named(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            [0, -1, 1],
            "1 row with label -1, which means unlabelled, in column 'label': row 1 .*labelled split",
        ),
        (
            [0, 1, 5],
            "1 row with a label id outside 0 to 1 .*: row 2 .*The first is 5; the names are .'a', 'b'.",
        ),
        ([0, None, 1], "1 row without a label"),
        ([1, 1], "All 2 rows have the label 'b'"),
    ],
)
def test_ids_that_no_declared_name_has_are_refused(values, message):
    with pytest.raises(DataError, match=message):
        named((values, ("a", "b")))


def test_declared_names_in_another_order_are_refused():
    columns = [column([0, 1], ("a", "b")), column([0, 1], ("b", "a"), "column 'label' of the test rows")]
    with pytest.raises(DataError, match=r"Label names differ: .*'a', 'b'.*of the test rows has .'b', 'a'"):
        name_labels(columns)


def test_a_text_that_is_no_declared_name_is_refused():
    with pytest.raises(DataError, match=r"Labels .'x'. in column 'label' are not among the declared names"):
        named(([0, 1], ("a", "b")), ["x", "a"])


def test_declared_names_may_differ_in_case_alone():
    assert named(([0, 1], ("a", "A"))).names == ("a", "A")


def test_many_rows_are_named_by_the_first_few():
    assert some([4]) == "row 4"
    assert some(list(range(9))) == "rows 0, 1, 2, 3, 4 and 4 more"
    assert (count(1, "row"), count(2000, "row")) == ("1 row", "2,000 rows")
