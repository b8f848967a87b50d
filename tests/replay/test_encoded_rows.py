import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset, concatenate_datasets
from hypothesis import given
from hypothesis import strategies as st

from hf_transfer.replay.encoded_rows import EncodedRows

tokens = st.lists(st.integers(0, 2**31 - 1), max_size=6)
row_lists = st.lists(st.tuples(tokens, st.binary(max_size=6), st.integers(0, 9)), min_size=1, max_size=12)


def dataset_of(rows):
    ids, pixels, labels = map(list, zip(*rows, strict=True))
    sets = [[label, 1] for label in labels]
    columns = {"input_ids": ids, "pixels": pixels, "labels": labels, "sets": sets}
    columns |= {"share": [0.1] * len(rows), "table": [[0.5, label] for label in labels]}
    schema = {"input_ids": pa.list_(pa.int32()), "sets": pa.list_(pa.int64()), "pixels": pa.binary()}
    arrays = {name: pa.array(values, schema.get(name)) for name, values in columns.items()}
    return Dataset(pa.table(arrays))


def plain(row):
    arrays = {"input_ids": list, "pixels": bytes}
    return {name: arrays[name](value) if name in arrays else value for name, value in row.items()}


@given(row_lists, st.integers(0, 12), st.randoms(use_true_random=False))
def test_rows_are_those_that_datasets_gives_wherever_a_file_is_cut(rows, cut, random):
    parts = [dataset_of(part) for part in (rows[:cut], rows[cut:]) if part]
    whole = concatenate_datasets(parts)
    order = [random.randrange(len(rows)) for _ in range(7)]
    found = EncodedRows(whole).at(np.array(order))
    assert [plain(row) for row in found] == [whole[position] for position in order]


@given(row_lists)
def test_rows_that_were_chosen_from_a_data_set(rows):
    chosen = dataset_of(rows).select(range(len(rows) - 1, -1, -1))
    found = EncodedRows(chosen).at(np.arange(len(rows)))
    assert [plain(row) for row in found] == list(chosen)


def test_columns_beside_each_other_may_be_cut_at_other_rows():
    rows = [([i], bytes([i]), i) for i in range(9)]
    left = concatenate_datasets([dataset_of(rows[:4]), dataset_of(rows[4:])]).remove_columns("labels")
    both = concatenate_datasets([left, Dataset.from_dict({"labels": list(range(9))})], axis=1)
    found = EncodedRows(both).at(np.array([8, 0, 4]))
    assert [(row["input_ids"].tolist(), row["labels"]) for row in found] == [([8], 8), ([0], 0), ([4], 4)]


def test_token_ids_and_bytes_of_a_file_are_not_copied(tmp_path):
    dataset_of([([1, 2], b"ab", 0)] * 5).save_to_disk(tmp_path)
    before = pa.total_allocated_bytes()
    rows = EncodedRows(Dataset.load_from_disk(tmp_path)).at(np.array([3, 1]))
    assert pa.total_allocated_bytes() == before
    assert not any(row[name].flags.owndata for row in rows for name in ("input_ids", "pixels"))
    assert rows[0]["input_ids"].dtype == np.int32


@pytest.mark.parametrize("missing", ["input_ids", "labels"])
def test_missing_values_stay_missing(missing):
    rows = dataset_of([([1], b"a", 0), ([2], b"b", 1)])
    table = rows.data.table
    gaps = pa.array([None, table[missing][1].as_py()], table.schema.field(missing).type)
    place = table.schema.get_field_index(missing)
    found = EncodedRows(Dataset(table.set_column(place, missing, gaps))).at(np.array([0]))
    assert found[0][missing] is None
