import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from hf_transfer.tasks.inputs.similarity import (
    equal_groups,
    plain_text,
    similar_pictures,
    similar_texts,
    thumbnail,
)

TEXT = "the train left early and we saw nobody on the empty platform that cold morning in march"
WORDS = TEXT.split()


def blobs(seed):
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(small).resize((64, 48), Image.Resampling.BICUBIC)


def as_jpeg(picture, quality):
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


CHANGES = {
    "compressed": lambda picture: as_jpeg(picture, 40),
    "halved": lambda picture: picture.resize((32, 24)),
    "grey": lambda picture: picture.convert("L"),
    "paler": lambda picture: ImageEnhance.Contrast(picture).enhance(0.7),
}


def groups_of(pictures):
    return similar_pictures(np.array([thumbnail(picture) for picture in pictures]))


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_among_others(change):
    pictures = [blobs(seed) for seed in range(10)]
    assert groups_of([*pictures, CHANGES[change](pictures[3])]) == [[3, 10]]


def test_pictures_of_one_colour_resemble_nothing():
    assert groups_of([Image.new("RGB", (8, 8), colour) for colour in ("red", "red", "white")]) == []


def test_copies_are_found_across_blocks():
    pictures = [blobs(seed) for seed in range(600)]
    assert groups_of([*pictures, pictures[1], pictures[599]]) == [[1, 600], [599, 601]]


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=9))
def test_equal_groups_are_those_of_equal_keys(keys):
    groups = equal_groups(keys)
    assert all(len({keys[i] for i in group}) == 1 < len(group) for group in groups)
    assert sum(map(len, groups)) == sum(keys.count(key) > 1 for key in keys)


def test_plain_texts_differ_in_words_alone():
    assert plain_text("  The\tCafe\u0301 ") == plain_text("the CAFÉ") == "the café"


@given(st.permutations(WORDS), st.integers(0, len(WORDS) - 1))
@settings(max_examples=30, deadline=None)
def test_a_text_with_one_other_word_is_found(words, place):
    text = " ".join(words * 3)
    changed = " ".join([*words * 2, *words[:place], "x", *words[place + 1 :]])
    others = ["an altogether different sentence about the price of lamps", "short", ""]
    assert similar_texts([*others, text, changed]) == [[3, 4]]


def test_texts_that_share_half_are_not_the_same():
    assert (
        similar_texts([" ".join(WORDS), " ".join(WORDS[:8]) + " but then a bus came by and took all of us"])
        == []
    )


def test_resemblance_is_passed_on_within_a_group():
    texts = [" ".join([*WORDS * 3, *["extra"] * i]) for i in range(4)]
    assert similar_texts(texts) == [[0, 1, 2, 3]]


def test_no_texts_have_no_groups():
    assert similar_texts([]) == []
    assert similar_pictures(np.zeros((0, 256), np.float32)) == []
