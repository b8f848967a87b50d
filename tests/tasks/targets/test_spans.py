import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hf_transfer.tasks.targets.spans import entities, legal_tags, word_places

NAMES = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def is_legal(tags):
    steps = itertools.pairwise(["O", *tags])
    return all(not tag.startswith("I-") or before[2:] == tag[2:] for before, tag in steps)


@given(st.integers(1, 4), st.data())
def test_the_likeliest_of_all_legal_sequences_is_found(words, data):
    logs = data.draw(arrays(np.float64, (words, 5), elements=st.floats(-9, 0)))
    found = legal_tags(logs, NAMES)
    assert is_legal([NAMES[i] for i in found])
    legal = [ids for ids in itertools.product(range(5), repeat=words) if is_legal([NAMES[i] for i in ids])]
    best = max(sum(logs[place, tag] for place, tag in enumerate(ids)) for ids in legal)
    assert logs[np.arange(words), found].sum() == pytest.approx(best)


def test_a_sentence_without_words_has_no_tags():
    assert legal_tags(np.zeros((0, 5)), NAMES).tolist() == []
    assert entities("", [], [], np.zeros(0)) == []


def test_entities_stand_where_they_are_in_the_text():
    text = "Ada, Ada Ray; Lund"
    words, tags = ["Ada", ",", "Ada", "Ray", ";", "Lund"], ["O", "O", "B-PER", "I-PER", "O", "B-LOC"]
    shares = np.array([1, 1, 0.5, 0.5, 1, 0.75])
    assert list(word_places(text, words))[2] == (5, 8)
    assert entities(text, words, tags, shares) == [
        {"type": "PER", "start": 5, "end": 12, "probability": 0.25, "text": "Ada Ray"},
        {"type": "LOC", "start": 14, "end": 18, "probability": 0.75, "text": "Lund"},
    ]
