"""Rows without labels, as inputs of the same kind as rows that have some."""

import json

import pytest
from PIL import Image

from hf_transfer import RunConfig, open_dataset
from hf_transfer.data.opening import find_task
from hf_transfer.data.unlabelled import holds_lines, open_unlabelled
from hf_transfer.errors import DataError
from hf_transfer.tasks import task_of_kind

PAIRS = [{"text": f"one {n}", "text_pair": f"two {n}", "label": n % 2} for n in range(6)]


@pytest.fixture
def pairs(tmp_path):
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, PAIRS)))
    config = RunConfig(dataset=str(tmp_path / "pairs.jsonl"))
    return open_dataset(config, find_task(config))


def opened(path, like, **settings):
    return open_unlabelled(RunConfig(dataset=str(path), **settings), like.task, like.target)


def test_lines_are_read_as_the_input_reads_them(pairs, tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("one\ttwo\n\nthree\tfour\n")
    found = opened(path, pairs)
    assert found.rows["input"][:] == [
        {"text": "one", "text_pair": "two"},
        {"text": "three", "text_pair": "four"},
    ]
    assert (found.label_names, found.task) == (pairs.label_names, pairs.task)
    assert holds_lines(path, pairs.input)
    path.write_text("only one\n")
    with pytest.raises(DataError, match="not a pair of texts"):
        opened(path, pairs)


def test_each_row_gets_a_stand_in_for_a_label_and_keeps_its_id(pairs, tmp_path):
    rows = [{"text": "a", "text_pair": "b", "key": "x"}, {"text": "c", "text_pair": "d", "key": "y"}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = opened(tmp_path / "rows.jsonl", pairs, id_column="key")
    assert found.rows["row_id"][:] == ["x", "y"]
    assert found.rows["label"][:] == [pairs.target.unlabelled] * 2


def test_labels_that_are_there_are_not_looked_at(pairs, tmp_path):
    rows = [{**PAIRS[n], "label": value} for n, value in enumerate(["", "-", "0.5"])]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert opened(tmp_path / "rows.jsonl", pairs).rows["label"][:] == [pairs.target.unlabelled] * 3


def test_what_holds_no_inputs_is_an_error(pairs, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"other": 1}\n{"other": 2}\n')
    with pytest.raises(DataError, match="No columns"):
        opened(tmp_path / "rows.jsonl", pairs)


def test_files_of_a_folder_are_found_from_where_one_stands(tmp_path, monkeypatch):
    (tmp_path / "pictures").mkdir()
    for n in range(3):
        Image.new("RGB", (8, 8), (n, 0, 0)).save(tmp_path / "pictures" / f"{n}.png")
    monkeypatch.chdir(tmp_path)
    task = task_of_kind("image")
    for name in ("pictures", "./pictures", str(tmp_path / "pictures")):
        rows = open_unlabelled(RunConfig(dataset=name), task, task.targets[0](("a", "b"))).rows
        assert [one["path"] for one in rows["input"][:]] == [
            str(tmp_path / "pictures" / f"{n}.png") for n in range(3)
        ]
