"""What annotation tools export, as plain rows."""

import json

import pytest

from hf_transfer.data.annotations import as_row, plain_rows
from hf_transfer.data.data_files import read_file

PER = {"start": 0, "end": 3, "label": "PER"}


def task(number, *results, **odd):
    return {"id": number, "data": {"text": "Ann left"}, "annotations": [{"result": list(results)} | odd]}


def region(start, end, *labels):
    value = {"start": start, "end": end, "text": "Ann left"[start:end], "labels": list(labels)}
    return {"value": value, "from_name": "label", "to_name": "text", "type": "labels"}


def test_triples_become_spans_with_names():
    rows = [{"text": "Ann left", "label": [[0, 3, "PER"]]}, {"text": "b", "label": []}]
    assert plain_rows(rows, "a.jsonl") == (
        [{"text": "Ann left", "label": [PER]}, {"text": "b", "label": []}],
        (),
    )


@pytest.mark.parametrize(
    "value",
    [["pos"], [[1, 2, 3]], [["Ann", "saw", "Rome"]], [[0.5, 1.5, "x"]], [[True, False, "x"]], "x", None],
)
def test_other_lists_stay_as_they_are(value):
    assert plain_rows([{"text": "Ann", "label": value}], "a.jsonl") == ([{"text": "Ann", "label": value}], ())


def test_label_studio_has_the_data_of_each_task_and_its_regions():
    rows, notes = plain_rows([task(7, region(0, 3, "PER")), task(8)], "a.json")
    assert rows == [
        {"id": 7, "text": "Ann left", "label": [PER | {"text": "Ann"}]},
        {"id": 8, "text": "Ann left", "label": []},
    ]
    assert notes == ()


def test_tasks_that_nobody_finished_are_left_out_with_their_ids():
    rows = [
        task(7, region(0, 3, "PER")),
        task(8, was_cancelled=True),
        {"id": 9, "data": {}, "annotations": []},
    ]
    rows[0]["annotations"].append({"result": []})
    kept, notes = plain_rows(rows, "a.json")
    assert [row["id"] for row in kept] == [7]
    assert notes == (
        "2 tasks of a.json without an annotation left out: tasks 8, 9.",
        "Of 1 task of a.json with several annotations, the first is taken.",
    )


def test_choices_of_label_studio_are_labels():
    choice = {"value": {"choices": ["good"]}, "from_name": "mood", "type": "choices"}
    assert plain_rows([task(7, choice)], "a.json")[0] == [{"id": 7, "text": "Ann left", "mood": "good"}]


def test_what_was_not_accepted_is_left_out_with_its_rows():
    rows = [
        {"text": "Ann left", "spans": [PER], "answer": "accept"},
        {"text": "b", "spans": [], "answer": "reject"},
        {"text": "c", "answer": "ignore"},
        {"text": "d", "answer": "accept"},
    ]
    kept, notes = plain_rows(rows, "a.jsonl")
    assert [(row["text"], row["spans"]) for row in kept] == [("Ann left", [PER]), ("d", [])]
    assert notes == ("2 rows of a.jsonl that were not accepted (ignore 1, reject 1) left out: rows 1, 2.",)


def test_spacys_pairs_are_rows(tmp_path):
    pairs = [["Ann left", {"entities": [[0, 3, "PER"]]}], ["b", {"entities": []}]]
    assert as_row(["a", "b"]) == ["a", "b"]
    (tmp_path / "a.json").write_text(json.dumps(pairs))
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    for name in ("a.json", "a.jsonl"):
        rows, _ = read_file(tmp_path / name)
        assert rows.to_dict() == {"text": ["Ann left", "b"], "entities": [[PER], []]}
