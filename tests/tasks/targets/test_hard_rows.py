import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_transfer.tasks.targets.hard_rows import (
    RowProbabilities,
    hardest_rows,
    suspected_labels,
    wrong_sentences,
)

NAMES = ("ant", "bee", "cat")


def table(labels, probabilities, row_ids=None, repeats=None):
    probabilities = np.asarray(probabilities, dtype=np.float64)
    n = len(labels)
    return pa.table({
        "row_id": list(range(n)) if row_ids is None else row_ids,
        "repeat": pa.array([0] * n if repeats is None else repeats, pa.int32()),
        "fold": pa.array([0] * n, pa.int32()),
        "label": labels,
        "prediction": probabilities.argmax(axis=1),
        "logits": np.log(probabilities).tolist(),
    })  # fmt: skip


def sure_of(label, sure=0.9):
    return [sure if i == label else (1 - sure) / 2 for i in range(3)]


def test_the_hardest_row_is_first_and_right_ones_are_left_out():
    rows = RowProbabilities.of(
        table([0, 0, 1, 2], [sure_of(0), [0.3, 0.6, 0.1], [0.98, 0.01, 0.01], sure_of(2)]), NAMES
    )
    first, second = hardest_rows(rows, NAMES)
    assert (first.row_id, first.label, first.other) == (2, "bee", "ant")
    assert (first.label_probability, first.other_probability) == pytest.approx((0.01, 0.98))
    assert first.loss == pytest.approx(-np.log(0.01))
    assert (second.row_id, second.other) == (1, "bee")


def test_repeats_are_averaged_and_a_row_is_there_once():
    rows = RowProbabilities.of(
        table([0, 1, 0, 1], [sure_of(0), sure_of(1), [0.1, 0.8, 0.1], sure_of(1)],
              row_ids=["a", "b", "a", "b"], repeats=[0, 0, 1, 1]), NAMES
    )  # fmt: skip
    assert rows.row_ids == ["a", "b"]
    assert rows.labels.tolist() == [0, 1]
    assert rows.values[0] == pytest.approx([0.5, 0.425, 0.075])
    assert rows.losses[0] == pytest.approx(-(np.log(0.9) + np.log(0.1)) / 2)


def test_a_label_is_suspected_when_another_class_reaches_its_usual_probability():
    labels = [0] * 4 + [1] * 4
    probabilities = [sure_of(0), sure_of(0), sure_of(0), sure_of(1, 0.97), *[sure_of(1)] * 4]
    (found,) = suspected_labels(RowProbabilities.of(table(labels, probabilities), NAMES), NAMES)
    assert (found.row_id, found.label, found.other) == (3, "ant", "bee")


def test_a_wrong_row_is_no_suspicion_while_the_other_class_is_not_sure_enough():
    labels = [0] * 4 + [1] * 4
    probabilities = [sure_of(0), sure_of(0), sure_of(0), [0.3, 0.6, 0.1], *[sure_of(1, 0.99)] * 4]
    rows = RowProbabilities.of(table(labels, probabilities), NAMES)
    assert [row.row_id for row in hardest_rows(rows, NAMES)] == [3]
    assert suspected_labels(rows, NAMES) == []


def test_a_class_that_no_row_has_claims_none():
    rows = RowProbabilities.of(table([0, 0, 1, 1], [sure_of(2)] * 4), NAMES)
    assert all(row.other != "cat" for row in suspected_labels(rows, NAMES))


def test_flipped_labels_are_found_among_good_predictions():
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=300)
    logits = rng.normal(0, 0.5, (300, 3)) + 4 * np.eye(3)[truth]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    flipped = rng.choice(300, 15, replace=False)
    labels = truth.copy()
    labels[flipped] = (labels[flipped] + 1) % 3
    found = {row.row_id for row in suspected_labels(RowProbabilities.of(table(labels, shares), NAMES), NAMES)}
    # Some of the flipped rows have an unsure prediction; none of the others is suspected.
    assert found <= set(flipped.tolist())
    assert len(found) >= 10


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_a_suspected_label_is_never_the_likeliest_by_its_own_measure(seed, n):
    rng = np.random.default_rng(seed)
    labels, shares = rng.integers(3, size=n), rng.dirichlet([0.5] * 3, n).clip(1e-6)
    rows = RowProbabilities.of(table(labels, shares), NAMES)
    for row in suspected_labels(rows, NAMES):
        mine = rows.values[rows.labels == NAMES.index(row.label), NAMES.index(row.label)].mean()
        theirs = rows.values[rows.labels == NAMES.index(row.other), NAMES.index(row.other)].mean()
        assert row.label_probability < mine
        assert row.other_probability >= theirs
        assert row.other != row.label


def sentences(*rows, repeats=None):
    columns = zip(*rows, strict=True)
    names = ("tokens", "labels", "predictions")
    repeats = pa.array(repeats or [0] * len(rows), pa.int32())
    return pa.table({"row_id": range(len(rows)), "repeat": repeats} | dict(zip(names, columns, strict=True)))


def test_wrong_mentions_are_marked_where_they_stand():
    (found,) = wrong_sentences(
        sentences((
            ["Ann", "Lee", "met", "Bo", "in", "Rome", "."],
            ["B-PER", "I-PER", "O", "B-PER", "O", "B-LOC", "O"],
            ["B-PER", "I-PER", "O", "O", "B-LOC", "B-ORG", "O"],
        ))
    )  # fmt: skip
    assert [(piece.words, piece.kind, piece.name) for piece in found.pieces] == [
        ("Ann Lee", "right", "PER"), ("met", "", ""), ("Bo", "missed", "PER"), ("in", "spurious", "LOC"),
        ("Rome", "missed", "LOC"), ("Rome", "spurious", "ORG"), (".", "", ""),
    ]  # fmt: skip
    assert found.num_wrong == 4


def test_sentences_with_most_wrong_mentions_are_first_and_right_ones_left_out():
    right = (["a"], ["B-PER"], ["B-PER"])
    one, two = (["b"], ["B-PER"], ["O"]), (["c"], ["B-PER"], ["B-LOC"])
    assert [found.row_id for found in wrong_sentences(sentences(right, one, two))] == [2, 1]


def test_a_sentence_is_shown_once_however_many_repeats_there_are():
    wrong = (["b"], ["B-PER"], ["O"])
    assert len(wrong_sentences(sentences(wrong, wrong, repeats=[0, 1]))) == 1


TAGS = st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(TAGS, TAGS), min_size=1, max_size=8))
def test_every_word_of_a_sentence_is_in_its_pieces_in_order(tags):
    words = [f"w{i}" for i in range(len(tags))]
    for found in wrong_sentences(sentences((words, [a for a, _ in tags], [b for _, b in tags]))):
        shown = [word for piece in found.pieces for word in piece.words.split()]
        assert list(dict.fromkeys(shown)) == words
