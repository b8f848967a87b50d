import pytest
from datasets import Dataset

from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.rows import label_rows
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.tasks.inputs.pictures import encode_pixels

CHOICES = "--uncertain ignore leaves such rows out, --uncertain zero and --uncertain one"


def pictures(**labels):
    import numpy as np

    number = len(next(iter(labels.values())))
    shades = [{"bytes": encode_pixels(np.full((4, 4), i, np.uint8)), "path": None} for i in range(number)]
    return Dataset.from_dict({"image": shades, **labels})


def read(rows, **settings):
    return label_rows(rows, RunConfig(**settings), "image")


@pytest.mark.parametrize("values", [[0, 1, -1, 0, 1], ["0", "1", "-1", "0", "1"]])
def test_a_label_of_minus_1_is_asked_about_and_then_what_was_said(values):
    rows = pictures(label=values)
    with pytest.raises(DataError, match=f"1 row with -1 among 0 and 1 in column 'label': row 2.*{CHOICES}"):
        read(rows)
    for said, expected in (("zero", [0, 1, 0, 0, 1]), ("one", [0, 1, 1, 0, 1])):
        found = read(rows, uncertain=said)
        assert found.rows["label"][:] == expected
        assert any("1 uncertain label (-1) taken for" in note for note in found.notes)
    kept = read(rows, uncertain="ignore")
    assert kept.rows["label"][:] == [0, 1, 0, 1]
    assert kept.rows["row_id"][:] == [0, 1, 3, 4]
    assert "1 row with an uncertain label (-1) left out: row 2." in kept.notes


def test_columns_of_labels_are_decided_alike():
    rows = pictures(mass=[0, 1, -1, 0], edema=[1, -1, 0, 0])
    columns = {"label_columns": ("mass", "edema")}
    with pytest.raises(DataError, match=f"1 row with -1 among 0 and 1 in column 'mass': row 2.*{CHOICES}"):
        read(rows, **columns)
    assert read(rows, uncertain="one", **columns).rows["label"][:] == [[1], [0, 1], [0], []]
    assert read(rows, uncertain="zero", **columns).rows["label"][:] == [[1], [0], [], []]
    ignored = read(rows, uncertain="ignore", **columns)
    assert (ignored.rows["row_id"][:], ignored.rows["label"][:]) == ([0, 3], [[1], []])


def test_three_classes_stay_three_where_they_are_said_or_usual():
    labels = [0, 1, -1, 0, 1, -1]
    assert read(pictures(label=labels), target="classes").label_names == ("-1", "0", "1")
    texts = Dataset.from_dict({"text": list("abcdef"), "label": labels})
    assert label_rows(texts, RunConfig(), "text").label_names == ("-1", "0", "1")


@pytest.mark.parametrize("labels", [[-1, 1, -1, 1], [0, 1, 0, 1], ["a", "b", "a", "b"]])
def test_other_labels_pass_untouched(labels):
    assert read(pictures(label=labels), uncertain=None).rows["label"][:] == [0, 1, 0, 1]


def test_another_word_is_refused():
    with pytest.raises(ConfigError, match="uncertain"):
        RunConfig(uncertain="maybe")
