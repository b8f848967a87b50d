from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_transfer.scores import shuffled as shuffling
from hf_transfer.scores.class_scorer import ClassificationScorer
from hf_transfer.scores.metrics import TAG
from hf_transfer.scores.shuffled import (
    exchangeable_unit,
    judge_shuffled,
    shuffle_labels,
    shuffle_tags,
    shuffled_words,
)
from hf_transfer.scores.tag_scorer import TaggingScorer

SCORER = ClassificationScorer(("bee", "ant", "fly"))


@pytest.fixture(autouse=True)
def _fewer_shuffles(monkeypatch):
    monkeypatch.setattr(shuffling, "_NUM_CHANCES", 99)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 3)), min_size=1, max_size=60), st.integers(0, 99)
)
def test_each_fold_keeps_its_labels(rows, seed):
    labels, folds = [label for label, _ in rows], np.array([fold for _, fold in rows])
    shuffled = np.array(shuffle_labels(labels, folds, seed=seed))
    for fold in np.unique(folds):
        assert Counter(shuffled[folds == fold].tolist()) == Counter(np.array(labels)[folds == fold].tolist())
    assert shuffle_labels(labels, folds, seed=seed) == shuffled.tolist()


def test_labels_do_move_and_the_seed_decides_where():
    labels, folds = list(range(100)), np.repeat([0, 1], 50)
    first, second = (shuffle_labels(labels, folds, seed=seed) for seed in (0, 1))
    assert first != labels
    assert first != second
    assert sum(a == b for a, b in zip(first, labels, strict=True)) < 20


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=50), st.integers(0, 99))
def test_groups_of_one_label_get_that_of_another_whole_group(groups, seed):
    of_group, folds = np.arange(10) % 4, np.asarray(groups) % 2
    labels = of_group[groups].tolist()
    shuffled = shuffle_labels(labels, folds, seed=seed, groups=groups)
    new = {group: {s for s, g in zip(shuffled, groups, strict=True) if g == group} for group in groups}
    assert all(len(values) == 1 for values in new.values())
    for fold in (0, 1):
        mine = {g for g in groups if g % 2 == fold}
        assert Counter(next(iter(new[g])) for g in mine) == Counter(of_group[list(mine)].tolist())


def test_groups_with_mixed_labels_exchange_rows():
    labels, groups = [0, 1, 0, 1, 0, 1], [0, 0, 1, 1, 2, 2]
    assert exchangeable_unit(labels, groups) == "row"
    assert exchangeable_unit(labels, None) == "row"
    assert exchangeable_unit([0, 0, 1, 1, 0, 0], groups) == "group"
    many = [i % 3 for i in range(60)]
    shuffled = shuffle_labels(many, np.zeros(60, int), seed=0, groups=[i // 10 for i in range(60)])
    assert Counter(shuffled) == Counter(many)
    assert shuffled != many


ENTITY = st.tuples(st.sampled_from(["PER", "LOC"]), st.integers(0, 2))
SENTENCE = st.lists(st.one_of(st.none(), ENTITY), max_size=6)


def tags_of(sentence) -> list[str]:
    return [
        tag
        for piece in sentence
        for tag in (["O"] if piece is None else [f"B-{piece[0]}", *[f"I-{piece[0]}"] * piece[1]])
    ]


def spans(tags) -> Counter:
    starts = [i for i, tag in enumerate(tags) if not tag.startswith("I-")]
    return Counter(tuple(tags[a:b]) for a, b in zip(starts, [*starts[1:], len(tags)], strict=False))


@settings(max_examples=50, deadline=None)
@given(st.lists(SENTENCE, max_size=4), st.integers(0, 99))
def test_entities_stay_whole_and_in_their_sentence(sentences, seed):
    rows = [tags_of(sentence) for sentence in sentences]
    shuffled = shuffle_tags(rows, seed=seed)
    assert all(TAG.fullmatch(tag) for row in shuffled for tag in row)
    assert [spans(row) for row in shuffled] == [spans(row) for row in rows]
    assert not any(row and row[0].startswith("I-") for row in shuffled)


def predictions(labels, predicted, folds=None, unit=None) -> pa.Table:
    n = len(labels)
    columns = {
        "row_id": np.arange(n), "repeat": np.zeros(n, np.int32),
        "fold": np.arange(n) % 3 if folds is None else folds,
        "label": labels, "prediction": predicted, "logits": np.eye(3)[predicted].tolist(),
    }  # fmt: skip
    return pa.table(columns | ({} if unit is None else {"unit": unit}))


def test_chance_is_the_agreement_of_the_shares():
    rng = np.random.default_rng(0)
    labels, predicted = rng.choice(3, 600, p=[0.6, 0.3, 0.1]), rng.choice(3, 600, p=[0.8, 0.1, 0.1])
    found = judge_shuffled(predictions(labels, predicted), SCORER, seed=0)
    shares = [np.bincount(x, minlength=3) / 600 for x in (labels, predicted)]
    assert found.chance == pytest.approx(float(shares[0] @ shares[1]), abs=0.01)
    assert found.held_out_score == pytest.approx((labels == predicted).mean())
    assert found.interval[0] < found.chance < found.interval[1]
    assert found.interval[0] <= found.held_out_score <= found.interval[1]
    assert found.leak is False
    assert shuffled_words(found).startswith("No leak: models that learned from shuffled labels reach 0.")


def test_predictions_that_know_the_shuffled_labels_are_a_leak():
    labels = np.random.default_rng(0).integers(3, size=90)
    known = np.where(np.arange(90) < 45, labels, 0)
    found = judge_shuffled(predictions(labels, known), SCORER, seed=0)
    assert found.leak is True
    assert found.interval[1] < found.held_out_score
    assert shuffled_words(found).startswith("Leak: ")
    below = judge_shuffled(predictions(labels, (labels + 1) % 3), SCORER, seed=0)
    assert below.leak is False  # worse than chance is bad luck, and no label is known


def test_groups_that_share_a_label_count_as_one():
    labels = np.repeat(np.random.default_rng(0).integers(3, size=9), 10)
    unit, folds = np.repeat(np.arange(9), 10), np.repeat(np.arange(9) % 3, 10)
    rng = np.random.default_rng(2)
    predicted = np.repeat(rng.integers(3, size=9), 10)
    grouped = judge_shuffled(predictions(labels, predicted, folds, unit), SCORER, seed=0).interval
    single = judge_shuffled(predictions(labels, predicted, folds), SCORER, seed=0).interval
    assert grouped[1] - grouped[0] > 1.5 * (single[1] - single[0])


def test_one_class_for_all_tells_nothing():
    found = judge_shuffled(predictions(np.arange(30) % 3, np.zeros(30, int)), SCORER, seed=0)
    assert found.leak is None
    assert found.interval is None
    assert "can't be told" in shuffled_words(found)


def test_tags_are_judged_by_entities():
    rng = np.random.default_rng(0)
    rows = [
        [["O", "B-PER", "O", "O", "B-LOC", "I-LOC"][i] for i in rng.permutation(4)] + ["O"] * 4
        for _ in range(60)
    ]
    table = {"row_id": range(60), "repeat": [0] * 60, "fold": [i % 2 for i in range(60)], "labels": rows}
    scorer = TaggingScorer(("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
    guess = shuffle_tags(rows, seed=5)
    assert judge_shuffled(pa.table(table | {"predictions": guess}), scorer, seed=0).leak is False
    assert judge_shuffled(pa.table(table | {"predictions": rows}), scorer, seed=0).leak is True
