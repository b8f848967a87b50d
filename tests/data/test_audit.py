import json

import numpy as np
import pytest
from datasets import Dataset
from labelled import noise, pictures, texts, words

from hf_transfer import RunConfig
from hf_transfer.data.audit import audit
from hf_transfer.data.rows import label_rows
from hf_transfer.errors import DataError
from hf_transfer.tasks.inputs.pictures import encode_pixels

BUS = "we waited an hour for the bus to the harbour and then it drove past us without stopping at all"


def test_repeats_are_found_whatever_case_and_spaces():
    found = audit(texts([("Good bus", "x"), ("good  BUS ", "x"), ("bad bus", "y")]))
    assert (found.duplicates, found.conflicts) == (((0, 1),), ())


def test_repeats_with_other_labels_are_conflicts():
    found = audit(texts([("good", "x"), ("good", "y"), ("bad", "y")]))
    assert found.conflicts == found.duplicates == ((0, 1),)
    assert audit(words()).conflicts == ((0, 1),)


def test_texts_that_differ_in_a_word_are_almost_the_same():
    rows = [(BUS, "x"), (BUS.replace("hour", "age"), "x"), (BUS, "x"), ("a short one", "y")]
    found = audit(texts(rows))
    assert (found.duplicates, found.near_duplicates) == (((0, 2),), ((0, 1),))


def test_rows_that_are_also_test_rows_are_found():
    rows = [("good", "x"), (BUS, "x"), ("bad", "y")]
    found = audit(texts(rows, [("fine", "x"), ("GOOD", "y"), (BUS.replace("hour", "age"), "y")]))
    assert (found.in_test, found.near_test) == (((0, 1),), ((1, 2),))
    assert (found.duplicates, found.near_duplicates, found.num_test_rows) == ((), (), 3)
    assert "Rows that are also in the test split: 1 exactly, 1 almost." in found.warnings()


def test_pictures_repeat_by_their_pixels():
    first = noise(0)
    brighter = (first * 0.8 + 40).astype(np.uint8)
    found = audit(pictures([first, noise(1), first.copy(), brighter], ["x", "y", "y", "x"]))
    assert (found.duplicates, found.conflicts, found.near_duplicates) == (((0, 2),), ((0, 2),), ((0, 3),))


def test_equal_pixels_of_another_shape_are_another_picture():
    pixels = noise(0)
    assert audit(pictures([pixels, pixels.reshape(8, 32, 3)], ["x", "y"])).duplicates == ()


def test_a_picture_that_changed_since_is_an_error(tmp_path):
    for name in ("x", "y"):
        (tmp_path / f"{name}.png").write_bytes(encode_pixels(noise(0)))
    rows = {"image": [str(tmp_path / "x.png"), str(tmp_path / "y.png")], "label": ["x", "y"]}
    data = label_rows(Dataset.from_dict(rows), RunConfig(), "image")
    (tmp_path / "y.png").write_bytes(b"cut")
    with pytest.raises(DataError, match=r"y.png has changed since it was read: not a picture"):
        audit(data)


@pytest.mark.parametrize(
    ("labels", "is_sorted"), [("xxyy", True), ("xyxy", False), ("yyxx", True), ("xyyx", False)]
)
def test_rows_sorted_by_label_are_told(labels, is_sorted):
    assert audit(texts([(f"text {i}", label) for i, label in enumerate(labels)])).sorted_by_label is is_sorted


def test_classes_and_lengths_are_counted():
    found = audit(texts([("a b c", "x"), ("d", "x"), ("e f", "y")]))
    assert (found.class_counts, found.rarest) == ({"x": 2, "y": 1}, ("y", 1))
    assert found.lengths == {"min": 1.0, "median": 2.0, "p95": 2.9, "max": 3.0}
    assert audit(words()).class_counts == {"LOC": 1, "PER": 1}


def test_rows_are_named_by_their_ids():
    rows = {"text": ["a", "b", "a"], "label": ["x", "y", "x"], "id": ["r7", "r8", "r9"]}
    data = label_rows(Dataset.from_dict(rows), RunConfig(id_column="id"), "text")
    assert audit(data).duplicates == (("r7", "r9"),)


def test_findings_are_plain_json():
    found = audit(texts([("good", "x"), ("good", "y"), (BUS, "y")], [("good", "x"), ("bad", "y")]))
    plain = found.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["in_test"] == [[0, 0], [1, 0]]


def test_clean_rows_have_no_warnings():
    assert audit(texts([("one", "x"), ("two", "y"), ("three", "x")])).warnings() == []


def test_columns_that_may_share_a_source_are_told():
    data = Dataset.from_dict({
        "text": [f"text number {i} about {i * i}" for i in range(24)], "label": ["no", "yes"] * 12,
        "speaker": [f"s{i // 4}" for i in range(24)],
    })  # fmt: skip
    found = audit(label_rows(data, RunConfig(), "text"))
    assert [source.name for source in found.sources] == ["=speaker"]
    assert any("--group_by speaker" in warning for warning in found.warnings())
    grouped = audit(label_rows(data, RunConfig(group_by="speaker"), "text"))
    assert grouped.sources == ()
    assert not any("--group_by" in warning for warning in grouped.warnings())
