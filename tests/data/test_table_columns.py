"""Which columns may stand beside an input, and what they are taken for."""

import datetime
import re

import numpy as np
import pytest
from datasets import Dataset, Image
from two_towers import COLOURS, picture

from hf_transfer import RunConfig
from hf_transfer.data.audit import audit
from hf_transfer.data.rows import label_rows
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.tasks.inputs.table import TableColumn

ROWS = 24
LABELS = ["ab"[row % 2] for row in range(ROWS)]
RED = picture(COLOURS["red"], np.random.default_rng(0))


def read(columns="price", rows=ROWS, max_rows=None, **values):
    given = {
        "image": [{"bytes": RED, "path": None}] * rows,
        "text": [f"text {row}" for row in range(rows)],
        "label": LABELS[:rows],
    }
    dataset = Dataset.from_dict(given | values).cast_column("image", Image(decode=False))
    config = RunConfig(table_columns=tuple(columns.split(",")), shared_texts="apart", max_rows=max_rows)
    return label_rows(dataset, config, "image_text")


def cycled(*values):
    return [values[row % len(values)] for row in range(ROWS)]


@pytest.mark.parametrize(
    ("values", "word", "categories"),
    [
        (cycled(1.5, None, 2.5), "price", None),
        (cycled(1, 2, 3), "price", None),
        (cycled(True, False), "price", None),
        (cycled("1", "", "2.5"), "price", None),
        (cycled(1, 2, None), "price:category", ("1", "2")),
        (cycled("red", "blue", ""), "price", ("blue", "red")),
        (cycled("7", "red", "blue"), "price", ("7", "blue", "red")),
    ],
)
def test_a_column_holds_numbers_or_categories(values, word, categories):
    data = read(word, price=values)
    assert data.input.table.columns == (TableColumn("price", categories),)
    assert any("'price' (numbers)" in note or "categories)" in note for note in data.notes)
    assert data.rows["input"][0]["table"]["price"] == (
        1.0 if values[0] is True else data.input.table.columns[0].read(values[0])
    )


@pytest.mark.parametrize(
    ("values", "error"),
    [
        (cycled(None), "has no value in any row"),
        (cycled("2024-01-01", "2024-02-03T10:00"), "holds dates or times, such as 2024-01-01"),
        (cycled(datetime.date(2024, 1, 1)), "holds dates or times"),
        ([f"id {row}" for row in range(ROWS)], r"24 categories in 24 rows.*says which row it is"),
        (["1"] * (ROWS - 1) + ["cheap"], r"numbers, but for the value 'cheap'.*price:category"),
        (cycled([1, 2], [3, 4]), r"values such as \[1, 2\]"),
        ([1e9 + row for row in range(ROWS)], "single precision tells apart. Subtract a start"),
        ([1e300 * row for row in range(ROWS)], "beyond 1e.15. Take a larger unit"),
    ],
)
def test_others_are_refused_with_the_reason(values, error):
    with pytest.raises(DataError, match=error):
        read(price=values)


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ("label", "is that of the labels"),
        ("text", "is that of the inputs"),
        ("prise", r"No column 'prise' .*Pass --table_columns price"),
        ("price,price:category", "names a column twice"),
    ],
)
def test_columns_of_another_use_and_absent_ones_are_refused(columns, error):
    with pytest.raises(DataError, match=error):
        read(columns, price=cycled(1, 2))


@pytest.mark.parametrize("use", ["group_by", "id_column", "site_column", "fold_column", "time_by"])
def test_columns_that_the_folds_go_by_are_refused(use):
    dataset = Dataset.from_dict({
        "image": [{"bytes": RED, "path": None}] * ROWS, "text": ["a text"] * ROWS, "label": LABELS,
        "price": list(range(ROWS)),
    }).cast_column("image", Image(decode=False))  # fmt: skip
    config = RunConfig(table_columns=("price",), **{use: "price"})
    with pytest.raises(DataError, match=r"Column 'price' of the table is that of the \w+s: "):
        label_rows(dataset, config, "image_text")


def test_a_table_is_for_pictures_with_texts():
    dataset = Dataset.from_dict({"text": ["a", "b"], "label": ["a", "b"], "price": [1, 2]})
    with pytest.raises(ConfigError, match=r"table_columns=\('price',\): texts have no such setting"):
        label_rows(dataset, RunConfig(table_columns=("price",)), "text")


def test_values_and_columns_are_part_of_the_fingerprint():
    prints = {
        read(columns, price=values, size=cycled(1, 2)).fingerprint
        for columns, values in [
            ("price", cycled(1, 2)), ("price", cycled(1, 3)), ("price:category", cycled(1, 2)),
            ("price,size", cycled(1, 2)), ("price", cycled(1, None)),
        ]
    }  # fmt: skip
    assert len(prints) == 5


def test_missing_values_are_counted_and_a_row_of_values_alone_is_kept():
    values = cycled(1, 2, None)
    images = [None, *[{"bytes": RED, "path": None}] * (ROWS - 1)]
    texts = ["", *[f"text {row}" for row in range(1, ROWS)]]
    data = read(price=values, image=images, text=texts)
    assert len(data.rows) == ROWS
    assert any(
        re.match("8 rows without 'price': a missing number counts as the mean", one) for one in data.notes
    )
    assert len(read(price=[None, *values[1:]], image=images, text=texts).rows) == ROWS - 1


def test_missing_values_of_rows_that_max_rows_leaves_out_are_not_counted():
    data = read(price=cycled(1, 2, None), max_rows=9)
    lacking = sum(row["table"]["price"] is None for row in data.rows["input"])
    assert 0 < lacking < 8
    assert any(note.startswith(f"{lacking} rows without 'price'") for note in data.notes)


def test_a_column_of_one_value_is_kept_and_said():
    assert any("has one value and so no effect" in note for note in read(price=cycled(3)).notes)


@pytest.mark.parametrize(
    "values", [[float("ab".index(one)) for one in LABELS], [f"is {one}" for one in LABELS]]
)
def test_a_column_that_tells_the_label_alone_is_an_alarm(values):
    (column,) = audit(read("price,noise", price=values, noise=cycled(1, 2, 3, 4, 5))).telling
    assert (column.name, column.right, column.commonest) == ("price", 1.0, 0.5)
    warnings = audit(read(price=values)).warnings()
    assert any("Column 'price' of the table alone tells 100.0% of the labels" in one for one in warnings)


def test_a_column_that_tells_much_is_none():
    rng = np.random.default_rng(0)
    values = [("ab".index(one) + 0.4 * rng.normal()) for one in LABELS]
    assert audit(read(price=values)).telling == ()


def test_a_column_of_the_table_is_no_sign_of_rows_that_belong_together():
    values = cycled(*range(8))
    assert [one.name for one in audit(read("other", other=cycled(1, 2), price=values)).sources] == ["=price"]
    assert audit(read("other,price", other=cycled(1, 2), price=values)).sources == ()
