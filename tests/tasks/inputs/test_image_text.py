"""Pictures with a text as inputs: found, read, written out, compared."""

import numpy as np
import pytest
from datasets import Dataset, Features, Image, Value
from two_towers import COLOURS, picture

from hf_transfer import RunConfig
from hf_transfer.data.audit import audit
from hf_transfer.data.opening import find_task, open_dataset
from hf_transfer.data.rows import label_rows
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.scores.transferability import Split
from hf_transfer.tasks import task_class
from hf_transfer.tasks.inputs.image_text import ImageText

INPUT = ImageText()
RNG = np.random.default_rng(0)
PICTURES = [picture(colour, RNG) for colour in [*COLOURS.values(), (60, 200, 60)]]


def rows(image="image", text="text", pictures=PICTURES, texts=("a red one", "a blue one", "green"), **more):
    columns = {
        image: [one and {"bytes": one, "path": None} for one in pictures],
        text: list(texts),
        "label": ["a", "b", "a"][: len(texts)],
    }
    found = Dataset.from_dict(columns | more)
    return found.cast_column(image, Image(decode=False))


def read(dataset, **settings):
    return label_rows(dataset, RunConfig(**settings), "image_text")


@pytest.mark.parametrize(
    ("image", "text"),
    [("image", "text"), ("photo", "Caption"), ("file_name", "title"), ("img", "description")],
)
def test_usual_columns_are_found(image, text):
    data = read(rows(image, text))
    assert data.input_column == f"{image},{text}"
    assert data.rows["input"][1] == {"image": {"bytes": PICTURES[1], "path": None}, "text": "a blue one"}
    assert data.notes[0].startswith(f"Pictures are in column {image!r}, their texts in {text!r}")


def test_named_columns_come_before_usual_ones():
    more = rows("x", "y", texts=("1", "2", "3")).remove_columns("label")
    dataset = rows().add_column("y", more["y"]).add_column("x", list(more["x"]))
    data = read(dataset.cast_column("x", Image(decode=False)), input_column="x, y")
    assert data.rows["input"][0]["text"] == "1"


@pytest.mark.parametrize(
    ("column", "error"),
    [
        ("image", r"in two columns, and input_column='image' names 1"),
        ("image,text,label", "names 3"),
        ("image,", "names 1"),
        ("image,none", "No column 'none'"),
        ("text,image", r"Column 'image' holds .*not texts"),
    ],
)
def test_wrong_columns_are_told(column, error):
    with pytest.raises(DataError, match=error):
        read(rows(), input_column=column)


def test_settings_of_other_inputs_are_refused():
    with pytest.raises(ConfigError, match="pictures with a text have no such setting"):
        read(rows(), image_size=64)


def test_rows_of_pictures_stay_rows_of_pictures_unless_asked(tmp_path):
    rows().save_to_disk(tmp_path / "rows")
    config = RunConfig(dataset=str(tmp_path / "rows"))
    assert find_task(config).input.name == "image"
    assert open_dataset(config, "image_text").task is task_class("image-text-classification")


def test_a_folder_with_metadata_is_read(tmp_path):
    lines = ["file_name,caption,label"]
    for number, one in enumerate(PICTURES):
        (tmp_path / f"{number}.png").write_bytes(one)
        lines.append(f"{number}.png,text {number},{'ab'[number % 2]}")
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    data = open_dataset(RunConfig(dataset=str(tmp_path)), "image_text")
    assert data.rows["input"][2] == {
        "image": {"bytes": None, "path": str(tmp_path / "2.png")},
        "text": "text 2",
    }


def test_one_of_the_two_may_be_missing_and_rows_with_neither_are_left_out():
    data = read(rows(pictures=[None, PICTURES[1], None], texts=("a red one", None, " ")))
    assert len(data.rows) == 2
    assert "1 row with neither a picture nor a text left out: row 2." in data.notes
    assert any("1 row without a picture and 1 row without a text: what is" in note for note in data.notes)
    assert INPUT.excerpt(data.rows["input"][0], 40) == "no picture: 'a red one'"
    assert INPUT.original(data.rows["input"][0]).picture is None


def test_what_cannot_be_decoded_is_told_with_its_row_or_left_out():
    broken = rows(pictures=[None, b"no picture", PICTURES[2]])
    with pytest.raises(DataError, match="row 1: not a picture"):
        read(broken)
    assert list(read(broken, on_bad_image="skip").rows["row_id"]) == [0, 2]


def test_contents_differ_by_each_of_the_two():
    def content(image, text):
        return tuple(INPUT.content({"image": image and {"bytes": image, "path": None}, "text": text}))

    values = [(PICTURES[0], "a"), (PICTURES[1], "a"), (PICTURES[0], "b"), (None, "a"), (PICTURES[0], None)]
    assert len({content(*value) for value in values}) == 5
    assert content(PICTURES[0], "") == content(PICTURES[0], None)


def test_rows_of_one_picture_are_near_duplicates_and_with_one_text_duplicates():
    texts = ("One text", "another", "one  text", "one text")
    shared = rows(pictures=[*PICTURES[:1] * 3, None], texts=texts, label=["a", "b", "a", "b"])
    found = audit(read(shared))
    assert found.duplicates == ((0, 2),)
    assert found.near_duplicates == ((0, 1),)
    assert found.lengths["max"] == 2.0


def test_rows_of_one_picture_stay_in_one_fold_and_those_without_one_do_not():
    pictures = [PICTURES[0], None, PICTURES[0], None, PICTURES[1]]
    dataset = rows(pictures=pictures, texts=["same"] * 5, label=["a", "b", "a", "b", "a"])
    data = read(dataset)
    assert data.kept_by == "picture"
    assert len(set(data.rows["group"])) == 4
    assert data.rows["group"][0] == data.rows["group"][2]
    assert any("2 rows of 5 share a picture with another row and are kept" in note for note in data.notes)
    assert "group" not in read(dataset, shared_texts="apart").rows.column_names


def test_words_of_the_command_are_pictures_with_texts():
    words = INPUT.from_words(
        ["a.png", "a text", '{"image": "b.png", "text": null}', "c.png\tits text", "d.png", ""]
    )
    assert [INPUT.from_text(word) for word in words] == [
        {"image": {"bytes": None, "path": "a.png"}, "text": "a text"},
        {"image": {"bytes": None, "path": "b.png"}, "text": ""},
        {"image": {"bytes": None, "path": "c.png"}, "text": "its text"},
        {"image": {"bytes": None, "path": "d.png"}, "text": ""},
    ]
    assert INPUT.from_text("\ta text") == {"image": None, "text": "a text"}


@pytest.mark.parametrize(
    "text", ["a.png", "a\tb\tc", '{"image": "a.png"}', '{"image": 1, "text": "a"}', "{no JSON"]
)
def test_other_words_are_told(text):
    with pytest.raises(DataError, match="is no picture with a text"):
        INPUT.from_text(text)


@pytest.mark.parametrize("told_by", ["picture", "text"])
def test_the_simple_model_learns_from_either_and_reads_rows_without_one(told_by):
    rng = np.random.default_rng(1)
    labels = np.arange(24) % 2
    values = []
    for label in labels:
        seen = list(COLOURS.values())[label if told_by == "picture" else rng.integers(2)]
        word = ("warm", "cold")[label if told_by == "text" else rng.integers(2)]
        values.append({"image": {"bytes": picture(seen, rng), "path": None}, "text": word})
    values[0]["image"], values[1]["text"] = None, None
    features = Features({"input": {"image": Image(decode=False), "text": Value("string")}})
    data = Dataset.from_dict({"input": values}, features)
    train, valid = np.arange(16), np.arange(16, 24)
    splits: list[Split] = [(train, valid)]
    (decisions,) = INPUT.simple_probe(data, labels, splits).decisions
    assert decisions.argmax(axis=1).tolist() == labels[valid].tolist()
