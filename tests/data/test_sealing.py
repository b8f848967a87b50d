from dataclasses import replace

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_transfer import RunConfig, SequenceClassification
from hf_transfer.data.labelled import LabelledData
from hf_transfer.data.rows import label_rows
from hf_transfer.data.sealing import seal_rows
from hf_transfer.errors import DataError

CONFIG = RunConfig(base_model="builtin:tiny-bert", sealed=0.1, id_column="id")


def made(num_rows: int, config: RunConfig = CONFIG, **columns) -> tuple[SequenceClassification, LabelledData]:
    table = {"text": [f"text {i}" for i in range(num_rows)], "label": [i % 2 for i in range(num_rows)]}
    data = label_rows(Dataset.from_dict(table | {"id": list(range(num_rows))} | columns), config, "text")
    return SequenceClassification(config, data.label_names), data


def sealed(num_rows: int, config: RunConfig = CONFIG, **columns) -> LabelledData:
    task, data = made(num_rows, config, **columns)
    return seal_rows(task, data, config)


@settings(deadline=None, max_examples=15)
@given(st.integers(20, 200), st.floats(0.05, 0.2), st.integers(0, 99))
def test_each_row_is_sealed_or_not_and_classes_keep_their_shares(num_rows, share, seed):
    found = sealed(num_rows, replace(CONFIG, sealed=share, seed=seed))
    rest, aside = set(found.rows["row_id"]), set(found.sealed["row_id"])
    assert rest.isdisjoint(aside)
    assert rest | aside == set(range(num_rows))
    assert abs(len(aside) - share * num_rows) <= 0.25 * share * num_rows + 1
    assert abs(2 * sum(found.sealed["label"]) - len(aside)) <= 1
    assert found.sealed["row_id"][:] == sorted(aside)


def test_groups_are_whole():
    names = [f"patient {i // 4}" for i in range(120)]
    found = sealed(120, replace(CONFIG, group_by="who"), who=names)
    assert set(found.sealed["group"]).isdisjoint(found.rows["group"])
    assert 8 <= len(found.sealed) <= 16


def test_of_times_the_latest_are_sealed_and_the_gap_is_left_out():
    found = sealed(100, replace(CONFIG, time_by="day", gap=3), day=list(range(100)))
    assert found.sealed["row_id"][:] == list(range(90, 100))
    assert found.rows["row_id"][:] == list(range(87))


def test_the_same_rows_are_sealed_in_another_order():
    task, data = made(60)
    turned = replace(data, rows=data.rows.select(range(59, -1, -1)))
    one, other = (seal_rows(task, rows, CONFIG).sealed["row_id"] for rows in (data, turned))
    assert set(one) == set(other)


def test_the_rest_has_a_fingerprint_of_its_own_and_a_note():
    task, data = made(60)
    found = seal_rows(task, data, CONFIG)
    assert found.fingerprint != data.fingerprint
    assert "6 rows of 60 sealed before the split (sealed=0.1): in no fold" in found.notes[-1]
    nothing = replace(CONFIG, sealed=0.0)
    assert seal_rows(task, data, nothing) is data


def test_what_cannot_be_set_aside_is_said():
    with pytest.raises(DataError, match=r"sealed=0\.1 cannot be set aside: All 40 rows are in one group"):
        sealed(40, replace(CONFIG, group_by="who"), who=["ann"] * 40)
