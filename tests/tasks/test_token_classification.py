import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_transfer import RunConfig, TokenClassification
from hf_transfer.replay.batching import as_rows
from hf_transfer.tasks.token_classification import first_subword_labels, word_windows

NAMES = ("O", "B-PER", "I-PER")


def task(**settings) -> TokenClassification:
    return TokenClassification(RunConfig(base_model="builtin:tiny-bert", **settings), NAMES)


@pytest.fixture(scope="module")
def tagger() -> TokenClassification:
    return task(max_length=24)


@given(st.lists(st.integers(0, 12), max_size=60), st.integers(4, 20))
def test_each_word_is_tagged_in_exactly_one_window(sizes, room):
    windows = list(word_windows(sizes, room))
    assert [word for _, tagged in windows for word in tagged] == list(range(len(sizes)))


@given(st.lists(st.integers(0, 12), max_size=60), st.integers(4, 20))
def test_windows_fit_or_hold_one_long_word(sizes, room):
    for seen, tagged in word_windows(sizes, room):
        assert set(tagged) <= set(seen)
        assert sum(max(1, sizes[word]) for word in seen) <= room or len(seen) == 1


@given(st.lists(st.integers(1, 4), min_size=1, max_size=20))
def test_the_first_subword_carries_the_label(sizes):
    word_ids = [None, *(word for word, size in enumerate(sizes) for _ in range(size)), None]
    labels = first_subword_labels(word_ids, list(range(len(sizes))))
    assert [label for label in labels if label != -100] == list(range(len(sizes)))
    assert all(label == -100 or word_ids[i] == label for i, label in enumerate(labels))


def test_a_sentence_longer_than_the_model_loses_no_word():
    words = [f"Word{i}" for i in range(200)]
    tags = [i % 3 for i in range(200)]
    encoded = task(max_length=32).encode({"input": [words], "label": [tags]}, [7])
    assert len(encoded["row"]) > 3
    assert set(encoded["row"]) == {7}
    assert max(map(len, encoded["input_ids"])) <= 32
    assert [label for window in encoded["labels"] for label in window if label != -100] == tags


def test_words_that_the_tokenizer_drops_are_still_tagged():
    words = ["Ada", "\u200b", " ", "\x00", "left"]
    encoded = task().encode({"input": [words], "label": [[1, 0, 0, 0, 0]]}, [0])
    assert [label for label in encoded["labels"][0] if label != -100] == [1, 0, 0, 0, 0]


def test_decode_undoes_encode():
    tagger = task(max_length=24)
    sentences = [["Ada", "Lovelace", "wrote", "."], [f"w{i}" for i in range(40)], ["Ada"]]
    labels = [[1, 2, 0, 0], [i % 3 for i in range(40)], [1]]
    encoded = tagger.encode({"input": sentences, "label": labels}, [0, 1, 2])
    rows = as_rows(encoded)
    batch = tagger.collate(rows)
    answers = torch.nn.functional.one_hot(batch["labels"].clamp(min=0), 3).float()
    joined = {0: [], 1: [], 2: []}
    for row, logits in zip(rows, tagger.target.decode(answers, batch["labels"]), strict=True):
        joined[row["row"]] += logits.tolist()
    assert [np.argmax(logits, 1).tolist() for logits in joined.values()] == labels
    table = tagger.target.columns(
        Dataset.from_dict({"input": sentences, "label": labels}), [np.array(rows) for rows in joined.values()]
    )
    assert table["labels"] == table["predictions"]
    assert table["labels"][0] == ["B-PER", "I-PER", "O", "O"]


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=40), min_size=1, max_size=3))
@settings(max_examples=15, deadline=None)
def test_every_tag_comes_back_however_long_the_sentence(tagger, labels):
    sentences = [[f"word{tag}" * (1 + i % 3) for i, tag in enumerate(tags)] for tags in labels]
    encoded = tagger.encode({"input": sentences, "label": labels}, list(range(len(labels))))
    rows = as_rows(encoded)
    batch = tagger.collate(rows)
    answers = torch.nn.functional.one_hot(batch["labels"].clamp(min=0), 3).float()
    found: list[list[int]] = [[] for _ in labels]
    for row, logits in zip(rows, tagger.target.decode(answers, batch["labels"]), strict=True):
        found[row["row"]] += logits.argmax(1).tolist()
    assert found == labels


def test_padding_is_ignored_by_the_loss():
    tagger = task()
    encoded = tagger.encode({"input": [["Ada"], ["Ada", "left", "."]], "label": [[1], [1, 0, 0]]}, [0, 1])
    rows = as_rows(encoded)
    batch = tagger.collate(rows)
    assert batch["input_ids"].shape == batch["labels"].shape == batch["attention_mask"].shape
    assert (batch["labels"][batch["attention_mask"] == 0] == -100).all()


def test_folds_are_balanced_by_mentions():
    rows = Dataset.from_dict({"input": [["a", "b"], ["c"]], "label": [[1, 2], [0]]})
    columns = task().target.balance(rows)
    assert columns.counts.tolist() == [[1], [0]]


def test_a_length_beyond_the_model_is_refused():
    from hf_transfer.errors import ModelError

    with pytest.raises(ModelError, match="max_length=999 is more than the 128 tokens"):
        _ = task(max_length=999).tokenizer
