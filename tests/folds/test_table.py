import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import plain_config

from hf_transfer.errors import FoldError
from hf_transfer.folds import FoldColumns, coded_columns, fold_table, plan_repeats, read_fold_table

NAMES = ("ant", "bee", "cat")
SETTINGS = {"groups": "group_by", "times": "time_by", "folds": "fold_column"}


@st.composite
def splits(draw):
    """Rows of some scheme: their ids, what they are split by, and the settings."""
    n = draw(st.integers(12, 40))
    pick = np.random.default_rng(draw(st.integers(0, 99))).integers
    start = datetime.datetime(2024, 1, 31)
    given = {
        "labels": pick(0, 3, n),
        "groups": [f"patient {i}" for i in pick(0, 9, n)],
        "times": [start + datetime.timedelta(days=int(day)) for day in pick(0, 30, n)],
        "folds": [("red", "blue", "green")[i] for i in np.arange(n) % 3],
        "counts": pick(0, 3, (n, 2)),
    }
    schemes = {
        "random": (), "stratified": ("labels",), "group": ("groups",),
        "stratified-group": ("groups", "labels"),
        "time": ("times",), "walk-forward": ("times", "labels"), "predefined": ("folds", "labels"),
        "entity": ("counts", "groups"),
    }  # fmt: skip
    scheme = draw(st.sampled_from(list(schemes)))
    gap = draw(st.integers(0, 2)) if "times" in schemes[scheme] else 0
    names = ("LOC", "PER.x") if scheme == "entity" else NAMES
    columns = FoldColumns(**{name: given[name] for name in schemes[scheme]}, label_names=names, gap=gap)
    settings = {
        "scheme": scheme, "num_folds": draw(st.integers(2, 4)), "num_repeats": draw(st.integers(1, 3)),
        "seed": draw(st.integers(0, 5)), "gap": gap,
    }  # fmt: skip
    settings |= {SETTINGS[name]: "a column" for name in schemes[scheme] if name in SETTINGS}
    uids = draw(st.sampled_from([list(range(100, 100 + n)), [f"k{i}" for i in range(n)]]))
    return uids, columns, plain_config(**settings)


@settings(deadline=None, max_examples=60)
@given(splits())
def test_the_table_alone_gives_the_same_folds_again(split):
    uids, columns, config = split
    plans = plan_repeats(uids, columns, config)
    sink = pa.BufferOutputStream()
    pq.write_table(fold_table(plans, uids, coded_columns(columns)), sink)
    table = pq.read_table(pa.BufferReader(sink.getvalue()))
    read_uids, read = read_fold_table(table, NAMES, config.gap)
    again = plan_repeats(read_uids, read, config)
    assert isinstance(read_uids, np.ndarray)  # a fifth of the memory, and the same folds
    assert read_uids.tolist() == uids
    assert [plan.fingerprint(read_uids) for plan in again] == [plan.fingerprint(uids) for plan in plans]
    assert [plan.notes for plan in again] == [plan.notes for plan in plans]
    assert fold_table(again, read_uids, read).equals(table)


def test_neither_names_nor_dates_are_in_the_table():
    columns = FoldColumns(
        groups=["ann", "bob", "ann", "cy"], times=["2024-02-01", "2023-01-01", "2024-02-01", "2024-03-01"],
        folds=["b", "a", "b", "a"],
    )  # fmt: skip
    table = fold_table(
        plan_repeats(range(4), columns, plain_config(num_folds=2, scheme="random")),
        range(4),
        coded_columns(columns),
    )
    assert table.column_names == ["row_id", "repeat", "fold", "group", "time", "predefined"]
    assert table["group"].to_pylist() == [0, 1, 0, 2]
    assert table["time"].to_pylist() == [1, 0, 1, 2]
    assert table["predefined"].to_pylist() == [1, 0, 1, 0]


def test_mentions_have_a_field_for_each_type():
    columns = FoldColumns(counts=np.array([[1, 0], [0, 2], [0, 0]]), label_names=("LOC", "PER"))
    plans = plan_repeats(range(3), columns, plain_config(num_folds=2))
    rows = fold_table(plans, range(3), columns)["mentions"].to_pylist()
    assert rows == [{"LOC": 1, "PER": 0}, {"LOC": 0, "PER": 2}, {"LOC": 0, "PER": 0}]


def test_a_table_of_something_else_is_refused():
    with pytest.raises(FoldError, match=r"The table of folds lacks fold, repeat; it has row_id, label\."):
        read_fold_table(pa.table({"row_id": [1], "label": [0]}), NAMES)
