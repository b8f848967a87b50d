"""Labels in several columns: marks of a set, or several numbers; and what is neither."""

import pytest
from datasets import Dataset

from hf_transfer import RunConfig
from hf_transfer.data.rows import label_rows
from hf_transfer.errors import ConfigError, DataError

TEXTS = ["a", "b", "c"]
MARKS = [[1, 0, 1], [1.0, 0.0, 1.0], [True, False, True], ["1", "0", "1"], ["True", "false", "TRUE"],
         ["yes", "no", " Yes "]]  # fmt: skip


def read(test: dict | None = None, rows: dict | None = None, **settings):
    columns = {"text": TEXTS} | (rows or {})
    names = tuple(name for name in columns if name != "text")
    config = RunConfig(**{"label_columns": names} | settings)
    other = None if test is None else Dataset.from_dict({"text": TEXTS} | test)
    return label_rows(Dataset.from_dict(columns), config, "text", test=other)


@pytest.mark.parametrize("marks", MARKS, ids=str)
def test_marks_are_sets_however_they_are_written(marks):
    data = read(rows={"cat": marks, "dog": [0, 0, 1]})
    assert (data.target.name, data.label_names) == ("label_sets", ("cat", "dog"))
    assert data.rows["label"][:] == [[0], [], [0, 1]]


def test_other_numbers_are_several_numbers():
    data = read(rows={"count": [3, 0, 1], "size": [0.5, 0.25, 2.0]}, test={"count": [1] * 3, "size": [0] * 3})
    assert (data.target.name, data.label_names) == ("numbers", ("count", "size"))
    assert data.rows["label"][:] == [[3, 0.5], [0, 0.25], [1, 2.0]]
    assert data.test["label"][:] == [[1, 0], [1, 0], [1, 0]]


def test_marks_are_numbers_where_a_person_says_so():
    data = read(rows={"a": [0, 1, 1], "b": [2, 0, 1]}, target="numbers")
    assert data.rows["label"][:] == [[0, 2], [1, 0], [1, 1]]
    assert read(rows={"a": [0, 1, 4]}, target="numbers").rows["label"][:] == [0, 1, 4]


def test_a_list_of_numbers_a_row_needs_no_columns():
    config = RunConfig(label_column="place")
    rows = Dataset.from_dict({"text": TEXTS, "place": [[0.5, 1.0], [2.0, 3.5], [1.0, 1.0]]})
    data = label_rows(rows, config, "text")
    assert (data.target.name, data.label_names) == ("numbers", ("place_0", "place_1"))


@pytest.mark.parametrize(
    ("rows", "settings", "message"),
    [
        ({"a": [0, 1, 0]}, {"label_columns": ("a", "bb")}, "No column 'bb' in the dataset.*--label_columns"),
        ({"a": [0, 1, 0], "b": [0, 2, 1]}, {}, "0 and 1 stand in 'a', and other numbers in 'b'"),
        ({"a": [0, 1, 0], "b": [0, 2, 1]}, {"target": "label_sets"},
         "1 row with neither 0 nor 1 in column 'b': row 1 .* has 2.*yes or no"),
        ({"a": [0, 1, 0], "b": ["x", "yes", "no"]}, {}, "neither 0 nor 1 in column 'b': row 0 .* has 'x'"),
        ({"a": [0, None, 1], "b": [0, 1, 1]}, {}, "1 row with neither 0 nor 1 in column 'a': row 1 .*None"),
        ({"a": [0.5, None, 1], "b": [0, 3, 1]}, {}, "1 row without a number in column 'a': row 1 "),
        ({"a": [0.5, 0.25, 1], "b": [3, 3, 3]}, {}, "All 3 rows have the 'b' 3 in column"),
        ({"a": [0, 0, 0], "b": [0, 0, 0]}, {}, "No row has any label"),
    ],
)  # fmt: skip
def test_what_is_neither_is_refused(rows, settings, message):
    with pytest.raises(DataError, match=message):
        read(rows=rows, **settings)


@pytest.mark.parametrize("wanted", [{"target": "classes"}, {"ordinal": True}], ids=str)
def test_several_columns_are_neither_classes_nor_grades(wanted):
    with pytest.raises(
        ConfigError, match=r"hold label_sets or numbers, and .* have one label a row; give label_c"
    ):
        read(rows={"a": [0, 1, 1], "b": [0, 0, 1]}, **wanted)


def test_a_target_is_named_once():
    with pytest.raises(ConfigError, match="ordinal means target=grades, and target='numbers' is given"):
        RunConfig(ordinal=True, target="numbers")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 2, 2.5], "1 row whose grade in column 'label' is no whole number: row 2 .*--target numbers"),
        ([2, 2, 2], "All 3 rows have the number 2"),
        ([[1.0, 2.5], [1.0, 3.0], [2.0, 2.0]], "Grades are one number a row"),
    ],
)
def test_grades_are_whole_numbers(labels, message):
    rows = Dataset.from_dict({"text": TEXTS, "label": labels})
    with pytest.raises(DataError, match=message):
        label_rows(rows, RunConfig(ordinal=True), "text")


def test_too_many_grades_are_an_amount():
    rows = Dataset.from_dict({"text": [str(i) for i in range(40)], "label": list(range(40))})
    with pytest.raises(DataError, match="has 40 different grades, and at most 30 can be cut"):
        label_rows(rows, RunConfig(ordinal=True), "text")
