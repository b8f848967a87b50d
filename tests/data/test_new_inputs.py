import io
import json

import numpy as np
import pytest
from PIL import Image as Pillow

from hf_transfer.data.input_folder import folder_splits
from hf_transfer.data.new_inputs import read_new_inputs
from hf_transfer.errors import DataError
from hf_transfer.tasks.inputs.audio import Audio
from hf_transfer.tasks.inputs.image import Image
from hf_transfer.tasks.inputs.image_text import ImageText
from hf_transfer.tasks.inputs.pictures import encode_pixels, read_picture
from hf_transfer.tasks.inputs.scans import PLAIN_PICTURES
from hf_transfer.tasks.inputs.sounds import encode_samples
from hf_transfer.tasks.inputs.text import Text
from hf_transfer.tasks.inputs.text_pair import TextPair
from hf_transfer.tasks.inputs.words import Words

# What Pillow does not write under such a name by itself; it is read by its content.
FORMATS = {".jfif": "JPEG", ".jpe": "JPEG"} | dict.fromkeys((".heic", ".heif", ".hif", ".jp2", ".jxl"), "PNG")


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.new("RGB", (2, 2), "white").convert("1" if path.suffix == ".pbm" else "RGB").save(
        path, FORMATS.get(path.suffix)
    )
    return path


def test_a_folder_gives_all_pictures_that_training_takes(tmp_path):
    for suffix in PLAIN_PICTURES:
        picture(tmp_path / "cat" / f"a{suffix}")
    picture(tmp_path / "dog" / "b.png").rename(tmp_path / "dog" / "b.PNG")
    (tmp_path / "dog" / "notes.txt").write_text("none")
    picture(tmp_path / "dog" / ".thumbs" / "b.png")
    picture(tmp_path / "__MACOSX" / "b.png")
    found = read_new_inputs([str(tmp_path)], Image(), "image")
    names, pictures = found.names, found.values
    learned = [one["path"] for one in folder_splits(tmp_path, Image())["train"]()[0]["image"]]
    assert sorted(names) == sorted(learned)
    assert len(names) == len(PLAIN_PICTURES) + 1
    assert [one["path"] for one in pictures] == names


def test_pictures_are_taken_one_by_one_and_in_the_order_given(tmp_path):
    names = [str(picture(tmp_path / name)) for name in ("b.png", "a.png", "c.unusual.png")]
    found = read_new_inputs(names, Image(), "image")
    assert found.names == found.rows["file"].to_pylist() == names


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_a_file_names_pictures_beside_it(tmp_path, name):
    path = picture(tmp_path / "sub" / "a.png")
    text = "photo\nsub/a.png\n" if name == "rows.csv" else json.dumps({"photo": "sub/a.png"})
    (tmp_path / name).write_text(text)
    found = read_new_inputs([str(tmp_path / name)], Image(), "photo")
    assert found.names == [str(path)]
    assert read_picture(found.values[0]).size == (2, 2)
    assert found.rows["photo"].to_pylist() == ["sub/a.png"]


def test_a_file_may_hold_pictures(tmp_path):
    pixels = np.zeros((3, 5, 3), np.uint8)
    (tmp_path / "rows.jsonl").write_text(json.dumps({"image": pixels.tolist()}))
    found = read_new_inputs([str(tmp_path / "rows.jsonl")], Image(), "image")
    assert found.names == [f"{tmp_path / 'rows.jsonl'}, row 0"]
    assert found.values == [{"bytes": encode_pixels(pixels), "path": None}]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, "No such picture or folder: .*gone. Give paths"),
        (lambda folder: (folder / "gone").mkdir(), "No pictures in .*gone"),
        (
            lambda folder: (folder / "gone").write_bytes(b"none"),
            "1 picture cannot be read. The first: .*gone: not a",
        ),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path, make, words):
    make(tmp_path)
    with pytest.raises(DataError, match=words):
        read_new_inputs([str(tmp_path / "gone")], Image(), "image")


def test_a_row_without_a_picture_is_named(tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps({"image": "gone.png"}))
    with pytest.raises(
        DataError, match=r"1 picture cannot be read. The first: .*gone.png: the file cannot be opened"
    ):
        read_new_inputs([str(tmp_path / "rows.jsonl")], Image(), "image")


def test_texts_are_words_of_the_command_or_lines_or_rows(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\n two \n")
    (tmp_path / "b.csv").write_text("text,other\nthree,x\nfour,y\n")
    files = [str(tmp_path / name) for name in ("a.txt", "b.csv")]
    found = read_new_inputs(["zero", *files], Text(), "text")
    assert found.names == found.values == ["zero", "one", " two ", "three", "four"]
    assert found.rows.to_pydict() == {"text": found.names, "other": [None, None, None, "x", "y"]}


def test_standard_input_has_a_text_or_a_path_a_line(tmp_path, monkeypatch):
    path = picture(tmp_path / "a.png")
    for input, lines in ((Text(), ["one", "two\u2028lines"]), (Image(), [str(path)])):
        stream = io.BytesIO("\r\n\n".join(lines).encode("utf-8-sig"))
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(stream, "ascii"))
        assert read_new_inputs(["-"], input, "text").names == lines
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff")))
    with pytest.raises(DataError, match=r"Standard input is not UTF-8: .* Convert it"):
        read_new_inputs(["-"], Text(), "text")


def test_files_whose_columns_clash_are_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a", "more": 1}')
    (tmp_path / "b.jsonl").write_text('{"text": "b", "more": "x"}')
    with pytest.raises(DataError, match=r"of different types: .* Give one at a time"):
        _ = read_new_inputs([str(tmp_path / name) for name in ("a.jsonl", "b.jsonl")], Text(), "text").rows


def test_sentences_are_split_at_spaces_unless_they_are_words_already(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"tokens": ["New York", "is"]}))
    (tmp_path / "b.csv").write_text("tokens\nNew York is\n")
    files = [str(tmp_path / name) for name in ("a.jsonl", "b.csv")]
    assert read_new_inputs(["It is", *files], Words(), "tokens").values == [
        ["It", "is"], ["New York", "is"], ["New", "York", "is"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", None, "No such file: .*a.csv"),
        ("a.csv", "other,more\n1,2\n", "No column 'text' in a.csv; it has 'other', 'more'. Rename one"),
        ("a.jsonl", '{"text": 3}', "Column 'text' holds int64, not texts"),
        ("a.txt", "\n", "No texts in .*a.txt"),
    ],
)
def test_files_that_hold_no_texts_are_refused(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=words):
        read_new_inputs([str(tmp_path / name)], Text(), "text")


@pytest.mark.parametrize(
    ("input", "given", "words"),
    [
        (
            Text(),
            ["fine", " "],
            r"1 row with empty text, the first of them row 1 \(counted from 0\)\. Each needs a text",
        ),
        (Words(), ["", ""], r"2 rows without words, .* row 0 \(counted from 0\)\. A sentence needs"),
        (
            TextPair(),
            ["one", "two", "three", ""],
            r"1 row with an empty text, .* row 1 \(counted from 0\)\. A pair needs",
        ),
        (
            ImageText(),
            ["", ""],
            r"1 row with neither a picture nor a text, .* row 0 \(counted from 0\)\. One of the two",
        ),
        (Image(), [""], "An empty word names no picture. Give paths"),
        (Audio(), [""], "An empty word names no sound. Give paths"),
    ],
)
def test_empty_inputs_of_each_kind_are_refused(input, given, words, tmp_path, monkeypatch):
    picture(tmp_path / "beside.png")  # the current folder was not asked for
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=words) as raised:
        read_new_inputs(given, input, "input")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("input", "column", "lines"),
    [
        (Text(), "text", [{"text": "one"}, {"text": None}]),
        (TextPair(), "text,text_pair", [{"text": "a", "text_pair": "b"}, {"text": "a", "text_pair": ""}]),
        (ImageText(), "image,text", [{"image": "a.png", "text": ""}, {"image": None, "text": " "}]),
        (Words(), "tokens", [{"tokens": ["one"]}, {"tokens": []}]),
        (Image(), "image", [{"image": "a.png"}, {"image": None}]),
        (Audio(), "audio", [{"audio": "a.wav"}, {"audio": None}]),
    ],
)
def test_empty_rows_of_a_file_are_refused_for_each_kind(input, column, lines, tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "a.wav").write_bytes(encode_samples(np.ones(800, np.int16), 8000))
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(DataError, match=r"row 1 .counted from 0.|row 1: the row holds no") as raised:
        read_new_inputs([str(tmp_path / "rows.jsonl")], input, column)
    assert "\n" not in str(raised.value)
