import numpy as np
import pytest
from datasets import Array2D, Dataset, Features, Image, LargeList, List, Value
from PIL import Image as Pillow

from hf_transfer.errors import DataError
from hf_transfer.tasks import task_of_kind
from hf_transfer.tasks.inputs.pictures import encode_pixels, read_picture

RED = encode_pixels(np.array([[[255, 0, 0]]], np.uint8))


def column(values, feature=None):
    return Dataset.from_dict({"x": values}, Features({"x": feature}) if feature else None)


def inputs(dataset, kind, folder=None):
    result = task_of_kind(kind).input.read(dataset, "x", folder=folder)
    assert result.column_names == ["input"]
    return result


@pytest.mark.parametrize(
    ("values", "feature"),
    [
        ([{"bytes": RED, "path": "a.png"}], Image()),
        ([{"bytes": RED, "path": None}], Image(decode=False)),
        ([RED], Value("binary")),
        ([RED], Value("large_binary")),
        ([{"bytes": RED}], {"bytes": Value("binary")}),
        ([Pillow.new("RGB", (1, 1), "red")], None),
        ([[[[255, 0, 0]]]], None),
        ([np.array([[[255, 0, 0]]], np.uint8)], None),
        ([[[[255, 0, 0]]]], LargeList(List(List(Value("uint8"))))),
    ],
)
def test_pictures_of_each_storage_are_the_same(values, feature):
    result = inputs(column(values, feature), "image")
    assert result.features["input"] == Image(decode=False)
    assert read_picture(result[0]["input"]).getpixel((0, 0)) == (255, 0, 0)


def test_grey_arrays_are_pictures():
    result = inputs(column([[[7, 8]]], Array2D((1, 2), "uint8")), "image")
    assert read_picture(result[0]["input"]).getpixel((1, 0)) == (8, 8, 8)


def test_paths_are_read_from_their_folder(tmp_path):
    (tmp_path / "a.png").write_bytes(RED)
    for values, feature in ((["a.png"], None), ([{"bytes": None, "path": "a.png"}], Image())):
        result = inputs(column(values, feature), "image", tmp_path)
        assert read_picture(result[0]["input"]).size == (1, 1)


def test_bytes_and_paths_may_be_mixed_with_missing_pictures(tmp_path):
    values = [{"bytes": RED, "path": "x"}, {"bytes": None, "path": "a.png"}, None]
    result = inputs(column(values, Image()), "image", tmp_path)["input"][:]
    assert result[0]["bytes"] == RED
    assert result[1]["path"] == str(tmp_path / "a.png")
    assert result[2] is None
    assert inputs(column(["a.png", "", " "]), "image", tmp_path)["input"][1:] == [None, None]


@pytest.mark.parametrize(
    ("values", "feature", "message"),
    [
        (["../a.png"], None, "leaves the folder"),
        ([{"bytes": None, "path": "/etc/passwd"}], Image(), "leaves the folder"),
        (["https://example.org/a.png"], None, "is a web address"),
        ([3], None, "Column 'x' holds int64, not pictures"),
        ([[[0.5, 0.1]]], None, "Row 0: 2 pixels of type float64"),
        ([[[1, 2], [3]]], None, "Row 0: .*inhomogeneous"),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path, values, feature, message):
    with pytest.raises(DataError, match=message):
        inputs(column(values, feature), "image", tmp_path)


def test_web_addresses_are_refused_without_a_folder():
    with pytest.raises(DataError, match=r"Row 1 holds the web address 'http://x/a.png'"):
        inputs(column(["a.png", "http://x/a.png"]), "image")


@pytest.mark.parametrize("feature", ["string", "large_string"])
def test_texts_become_strings(feature):
    result = inputs(column(["a", None, " "], Value(feature)), "text")
    assert (result["input"][:], result.features["input"]) == (["a", "", " "], Value("string"))
    assert task_of_kind("text").input.empty_rows(result) == [1, 2]


def test_words_become_lists_of_strings():
    result = inputs(column([["a", "b"], [], None], LargeList(Value("large_string"))), "tokens")
    assert (result["input"][:], result.features["input"]) == ([["a", "b"], [], []], List(Value("string")))
    assert task_of_kind("tokens").input.empty_rows(result) == [1, 2]


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ([1], "text", "Column 'x' holds int64, not texts"),
        ([["a"]], "text", "holds List, not texts"),
        (["a b"], "tokens", "holds string, not lists of words .* one tag for each"),
        ([[1]], "tokens", "holds List, not lists of words"),
        ([["a", None]], "tokens", "1 row with a missing word in column 'x': row 0"),
    ],
)
def test_other_types_are_refused(values, kind, message):
    with pytest.raises(DataError, match=message):
        inputs(column(values), kind)
