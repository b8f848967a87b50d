"""Where the words of a text are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_transfer.tasks.inputs.text_words import word_places


def words(text):
    return [text[start:end] for start, end in word_places(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"We sold it," said Ann\'s.', ['"', "We", "sold", "it", ",", '"', "said", "Ann", "'", "s", "."]),
        ("1,000.50 at 10:30, 3rd", ["1,000.50", "at", "10:30", ",", "3rd"]),
        ("well-known (a_b)", ["well", "-", "known", "(", "a_b", ")"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("cafe\u0301s", ["cafe\u0301s"]),
        ("北京、東京タワー abc", ["北", "京", "、", "東", "京", "タ", "ワ", "ー", "abc"]),
        ("a\u00a0b\nc", ["a", "b", "c"]),
        ("", []),
    ],
)
def test_words_stand_between_spaces_with_punctuation_apart(text, expected):
    assert words(text) == expected


@given(st.text())
def test_no_letter_is_lost(text):
    assert "".join(words(text)) == "".join(text.split())
