import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_transfer.tasks.inputs.splitting import Splitter

APART = [["Ada", "met", "Mr.", "Ray", ",", "well-known", "in", "Lund", "."], ["Bob", "'s", "dog", "...", "."]]
ATTACHED = [["Ada", "met", "Ray,", "in", "Lund."], ["No", "dots!"]]
LETTERS = [["我", "在", "北", "京", "。"]]


@pytest.mark.parametrize(
    ("sentences", "text", "words"),
    [
        (APART, "Mr. Ray, 3.14 (left)...", ["Mr.", "Ray", ",", "3.14", "(", "left", ")", "..."]),
        (APART, "Ann's half-hour: 10:30.", ["Ann", "'s", "half-hour", ":", "10:30", "."]),
        (APART, "left/right", ["left", "/", "right"]),
        (ATTACHED, "Mr. Ray, left.", ["Mr.", "Ray,", "left."]),
        (LETTERS, "北京。我", ["北", "京", "。", "我"]),
        ([["北京", "在"]], "北京在", ["北京在"]),
        ([], "It is.", ["It", "is."]),
        (APART, "  ", []),
    ],
)
def test_texts_are_split_as_the_sentences_are(sentences, text, words):
    assert Splitter.like(sentences)(text) == words


@given(
    st.lists(st.lists(st.text("ab.,'我-", min_size=1, max_size=3), max_size=4), max_size=3),
    st.text("ab.,'我- "),
)
def test_no_letter_is_lost_or_moved(sentences, text):
    words = Splitter.like(sentences)(text)
    assert "".join(words) == text.replace(" ", "")
    assert all(words)
