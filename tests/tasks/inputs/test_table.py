"""A table beside an input: its numbers, what is missing or unseen, and how it is kept."""

import json

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from hf_transfer.errors import DataError, ModelError
from hf_transfer.scores.columns import fit_columns
from hf_transfer.tasks.inputs.table import Table, TableColumn

TABLE = Table((TableColumn("price"), TableColumn("colour", ("blue", "red")), TableColumn("year")))


@pytest.mark.parametrize(
    ("given", "numbers", "unseen"),
    [
        ({"price": 2.5, "colour": "red", "year": "2001"}, [2.5, 0, 0, 1, 0, 2001, 0], 0),
        ({"price": "", "colour": " blue ", "year": float("nan")}, [0, 1, 1, 0, 0, 0, 1], 0),
        ({"price": 0, "colour": "teal", "year": True}, [0, 0, 0, 0, 0, 1, 0], 1),
        ({"colour": None}, [0, 1, 0, 0, 1, 0, 1], 0),
        (None, [0, 1, 0, 0, 1, 0, 1], 0),
    ],
)
def test_each_row_becomes_as_many_numbers(given, numbers, unseen):
    assert TABLE.encode([given]) == {"table": [numbers], "unseen": [unseen]}
    assert len(numbers) == TABLE.width == len(TABLE.lacking)


def test_each_number_knows_the_place_that_says_it_is_missing():
    assert TABLE.lacking == (1, 1, 2, 3, 4, 6, 6)
    values = np.asarray(TABLE.encode([{}, {"price": 3, "year": 1}, {"price": 5, "year": 1}])["table"])
    mean, factor = fit_columns(values, TABLE.lacking)
    assert mean[[0, 5]].tolist() == [4, 1]
    assert factor[[0, 5]].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"prize": 1}, r"no column 'prize'; it has columns price, colour, year\. Did you mean 'price'"),
        ({"price": "cheap"}, "'cheap' in column 'price' is no finite number"),
        ({"price": "inf"}, "'inf' in column 'price' is no finite number"),
    ],
)
def test_other_values_are_told(given, error):
    with pytest.raises(DataError, match=error):
        TABLE.encode([given])


def test_whole_numbers_name_the_same_category_however_they_are_stored():
    column = TableColumn("size", ("3", "4"))
    assert {column.read(value) for value in (3, 3.0, "3", " 3 ")} == {"3"}
    assert column.numbers(column.read(4.0)) == [0, 1, 0]


def test_columns_are_read_from_any_storage():
    rows = Dataset.from_dict(
        {"price": ["1", ""], "colour": [1, 0], "year": [2000, None], "other": ["x", "y"]},
        Features({
            "price": Value("string"), "colour": ClassLabel(names=["blue", "red"]), "year": Value("int32"),
            "other": Value("string"),
        }),
    )  # fmt: skip
    found = TABLE.read(rows)
    assert found["input"][:] == [
        {"price": 1.0, "colour": "red", "year": 2000.0},
        {"price": None, "colour": "blue", "year": None},
    ]
    assert TABLE.missing(found["input"]) == {"price": 1, "year": 1}
    assert TABLE.words(found["input"][1]) == ["price missing", "colour blue", "year missing"]
    with pytest.raises(DataError, match=r"No column 'price' of the table; .*Did you mean 'prize'"):
        TABLE.read(rows.rename_column("price", "prize"))


def test_a_saved_table_is_the_same_and_a_damaged_one_is_told(tmp_path):
    TABLE.save(tmp_path)
    assert Table.open(tmp_path) == TABLE
    for damaged in ("", "{}", json.dumps({"columns": [{"name": "a"}]})):
        (tmp_path / "table.json").write_text(damaged)
        with pytest.raises(ModelError, match=r"table.json does not say which columns the model reads"):
            Table.open(tmp_path)
