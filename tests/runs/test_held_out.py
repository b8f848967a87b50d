import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_transfer.errors import DataError, RunError
from hf_transfer.runs.fold_result import Reading
from hf_transfer.runs.held_out import HeldOut, table_digest

ROWS = {
    "row_id": [3, 1, 2],
    "prediction": [0, 1, 1],
    "logits": [[0.5, -1.0], [2.0, 3.5], [0.0, 0.25]],
    "tags": [["O", "B-A"], [], ["I-A"]],
}


def predict(rows):
    return pa.table({"row_id": rows, "prediction": rows % 2})


class TestHeldOut:
    def test_rows_are_read_once_and_the_reading_is_recorded(self):
        held_out = HeldOut(np.array([4, 7]), "r0f1")
        table = held_out.read(predict, weights="abc")
        assert table["row_id"].to_pylist() == [4, 7]
        (reading,) = held_out.readings
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", reading.at)
        assert reading == Reading(reading.at, "score", 2, weights="abc", predictions=table_digest(table))

    def test_a_second_look_is_refused(self):
        held_out = HeldOut(np.array([4, 7]), "r0f1")
        held_out.read(predict, weights="abc")
        with pytest.raises(RunError, match=r"held-out rows of r0f1 were scored at 20.* and are scored once"):
            held_out.read(predict, weights="def")
        assert len(held_out.readings) == 1

    def test_a_try_that_gave_nothing_may_be_made_again(self):
        held_out = HeldOut(np.array([4, 7]), "r0f1")

        def fail(rows):
            raise MemoryError

        with pytest.raises(MemoryError):
            held_out.read(fail, weights="abc")
        assert held_out.readings == []
        assert held_out.read(predict, weights="abc").num_rows == 2


class TestDigest:
    def test_it_stays_what_it_was(self):
        assert table_digest(pa.table(ROWS)) == "d9917416c5f0eefdc1285f450e4a807b"

    def test_a_file_library_and_layout_change_nothing(self, tmp_path):
        table = pa.table(ROWS)
        pq.write_table(table, tmp_path / "rows.parquet", row_group_size=1, store_schema=False)
        kinds = {
            "row_id": pa.int16(),
            "logits": pa.large_list(pa.float32()),
            "tags": pa.list_(pa.large_string()),
        }
        narrow = pa.table({name: pa.array(ROWS[name], kinds.get(name)) for name in reversed(ROWS)})
        again = [
            pq.read_table(tmp_path / "rows.parquet"),
            pa.Table.from_pandas(table.to_pandas(), preserve_index=False),
            pa.concat_tables([table.slice(0, 1), table.slice(1)]),
            pa.concat_tables([pa.table(ROWS), table]).slice(3),
            narrow,
        ]
        assert {table_digest(one) for one in again} == {table_digest(table)}

    @pytest.mark.parametrize(
        "change",
        [
            {"row_id": [1, 3, 2]},
            {"row_id": ["3", "1", "2"]},
            {"row_id": [3.0, 1.0, 2.0]},
            {"row_id": [3, 1, None]},
            {"prediction": [0, 1, 0]},
            {"logits": [[0.5, -1.0], [2.0, 3.5], [0.0, 0.25000001]]},
            {"logits": [[0.5], [-1.0, 2.0, 3.5], [0.0, 0.25]]},
            {"tags": [["O"], ["B-A"], ["I-A"]]},
            {"tags": [["OB", "-A"], [], ["I-A"]]},
            {"label": [0, 0, 0]},
        ],
    )
    def test_any_other_value_gives_another(self, change):
        assert table_digest(pa.table(ROWS | change)) != table_digest(pa.table(ROWS))

    @given(st.lists(st.lists(st.text(max_size=3), max_size=3), min_size=1, max_size=4), st.data())
    def test_only_equal_lists_of_texts_have_one_digest(self, rows, data):
        others = data.draw(
            st.permutations(rows) | st.lists(st.lists(st.text(max_size=3)), min_size=1, max_size=4)
        )
        kind = pa.list_(pa.string())
        first, second = (table_digest(pa.table({"tags": pa.array(r, kind)})) for r in (rows, others))
        assert (first == second) == (rows == others)

    def test_what_it_cannot_digest_is_named(self):
        table = pa.table({"when": pa.array([0], pa.timestamp("us"))})
        with pytest.raises(DataError, match=r"Column 'when' of the predictions is of type timestamp\[us\]"):
            table_digest(table)
