import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hf_transfer.data.labelled_file import check_output, write_labelled
from hf_transfer.errors import ConfigError

ROWS = pa.table({
    "name": ["a", None],
    "image": [{"bytes": b"x", "path": None}] * 2,
    "tokens": [["A", "b"], []],
    "share": [float("nan"), 0.5],
})  # fmt: skip
ANSWERS = [
    {
        "input": "a",
        "tokens": ["A", "b"],
        "name": "x",
        "entities": [{"type": "PER", "start": 0}],
        "threshold": {},
    },
    {"input": "b", "tokens": [], "name": "y", "entities": []},
]


def test_parquet_keeps_everything_under_names_of_its_own(tmp_path):
    said = write_labelled(tmp_path / "out.parquet", ROWS, ANSWERS)
    assert said == f"2 rows in {tmp_path / 'out.parquet'}, with predicted_name, entities."
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == [*ROWS.column_names, "predicted_name", "entities"]
    assert table["image"].to_pylist() == ROWS["image"].to_pylist()
    assert table["entities"].to_pylist() == [[{"type": "PER", "start": 0}], []]


def test_text_files_leave_bytes_out_and_say_so(tmp_path):
    for name in ("out.csv", "out.jsonl"):
        said = write_labelled(tmp_path / name, ROWS, ANSWERS)
        assert said.endswith("Without 'image': bytes are kept by .parquet only.")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert lines[0] == {
        "name": "a", "tokens": ["A", "b"], "share": None, "predicted_name": "x",
        "entities": [{"type": "PER", "start": 0}],
    }  # fmt: skip
    with (tmp_path / "out.csv").open(newline="") as stream:
        cells = list(csv.DictReader(stream))
    assert cells[1]["name"] == ""
    assert json.loads(cells[0]["entities"]) == [{"type": "PER", "start": 0}]


def test_probabilities_are_columns_of_a_table(tmp_path):
    answers = [{"label": "no", "probabilities": {"no": 0.8, "yes": 0.2}}]
    write_labelled(tmp_path / "out.csv", pa.table({"text": ['say "no"\nnow']}), answers)
    with (tmp_path / "out.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows == [
        ["text", "label", "probability_no", "probability_yes"],
        ['say "no"\nnow', "no", "0.8", "0.2"],
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("out.xlsx", r"'.*out.xlsx' must end in one of .csv, .jsonl, .parquet"),
        ("folder.csv", "folder.csv is a folder. Give the path of a file"),
        ("in.csv", "in.csv is the file that is read. Give another"),
    ],
)
def test_what_cannot_be_written_is_told_before_the_work(tmp_path, name, words):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "in.csv").write_text("text\na\n")
    with pytest.raises(ConfigError, match=words):
        check_output(tmp_path / name, ["a text" * 99, str(tmp_path / "in.csv")])
