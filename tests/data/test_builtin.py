import hashlib

import pytest

from hf_transfer.data import builtin
from hf_transfer.errors import DataError
from hf_transfer.tasks.inputs.pictures import read_picture


@pytest.mark.parametrize(
    ("name", "num_rows", "first", "last"),
    [("digits", 1797, "0", "9"), ("digits_0to4", 901, "0", "4"), ("digits_5to9", 896, "5", "9")],
)
def test_digits_are_pictures_of_the_classes_they_say(name, num_rows, first, last):
    rows = builtin.load(name, "image")
    names = rows.features["label"].names
    assert (len(rows), names[0], names[-1]) == (num_rows, first, last)
    assert sorted(set(rows["label"])) == list(range(len(names)))
    assert read_picture(rows[0]["image"]).size == (32, 32)


def test_digits_are_equal_in_every_byte():
    digest = hashlib.sha256()
    for picture in builtin.load("digits", "image")["image"]:
        digest.update(picture["bytes"])
    assert digest.hexdigest() == "4920ec272bed0b7ad3f05ad63b6b8c601473458cfc9cadf56e0785e1a7a4684f"


@pytest.mark.parametrize(
    ("name", "columns"), [("reviews", ["text", "label"]), ("mentions", ["tokens", "ner_tags"])]
)
def test_texts_have_the_usual_columns(name, columns):
    rows = builtin.load(f"builtin:{name}", {"reviews": "text", "mentions": "tokens"}[name])
    assert rows.column_names[:2] == columns
    assert len(rows) > 200


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(
        DataError, match=r"No dataset builtin:review. Did you mean builtin:reviews\? There are builtin:di"
    ):
        builtin.load("builtin:review", "text")


def test_another_kind_is_refused_with_what_there_is():
    with pytest.raises(
        DataError, match=r"builtin:reviews holds text rows, not image; for image take builtin:digits,"
    ):
        builtin.load("builtin:reviews", "image")


def test_names_are_listed_by_kind():
    assert builtin.names("tokens") == ["builtin:mentions"]
    assert builtin.names("audio") == ["builtin:tones"]
    assert builtin.names("text_pair") == ["builtin:review_pairs"]
    assert len(builtin.names()) == len(set(builtin.names())) >= 6


def test_captions_tell_odd_digits_from_even_ones_and_no_more():
    rows = builtin.load("digit_texts", "image_text")
    assert rows.column_names == ["image", "text", "roundness", "ink", "label"]
    odd = {("odd" in row["text"], row["label"] % 2 == 0) for row in rows}  # the first label is a five
    assert odd == {(True, True), (False, False)}
    assert {len({row["text"] for row in rows if row["label"] == label}) for label in range(5)} == {4}


def test_pairs_of_reviews_share_the_middle_one_of_three():
    rows = builtin.load("review_pairs", "text", "text_pair").to_list()
    assert [row["text_pair"] for row in rows[::2]] == [row["text"] for row in rows[1::2]]
    labels = {row["text"]: row["label"] for row in builtin.load("reviews", "text")}
    agree = [labels[row["text"]] == labels[row["text_pair"]] for row in rows]
    assert [row["label"] == "same" for row in rows] == agree
