"""The price of related rows, from the predictions of two splits, and how it is told."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from hf_transfer.runs.controls import price_part
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.leak_record import Arm, Candidate, Leak, Price
from hf_transfer.runs.leak_words import kept_words, leak_lines, price_answer, price_words, related_words
from hf_transfer.scores.class_scorer import ClassificationScorer

SCORER = ClassificationScorer(("no", "yes"))


def scored(right: np.ndarray, folds: np.ndarray):
    """Folds and predictions of rows of one class, of which some are right."""
    n = len(right)
    predicted = np.where(right, np.arange(n) % 2, 1 - np.arange(n) % 2)
    table = pa.table({
        "row_id": np.arange(n), "repeat": np.zeros(n, int), "fold": folds, "label": np.arange(n) % 2,
        "prediction": predicted, "logits": np.eye(2)[predicted].tolist(),
    })  # fmt: skip
    results = []
    for fold in range(folds.max() + 1):
        at = np.flatnonzero(folds == fold)
        results.append(FoldResult(0, fold, n - len(at), len(at), 0, scores=SCORER.score(table.take(at))))
    return results, table


def test_it_is_the_difference_on_the_same_rows():
    """Two groups are hard in both splits: folds differ, and pairs do not."""
    n, groups = 200, np.arange(200) // 40
    hard = (groups < 2) & (np.arange(200) % 4 < 2)
    lost = np.arange(200) % 10 == 9
    price = price_part(scored(~hard, np.arange(n) % 5), scored(~hard & ~lost, groups), SCORER)
    assert price.random.mean == pytest.approx(0.8)
    assert price.differences == pytest.approx([0.05, 0.05, 0.1, 0.1, 0.1])
    assert price.difference == pytest.approx(np.mean(price.differences))
    assert price.is_paid


def test_equal_splits_have_no_price():
    both = scored(np.arange(100) % 7 > 0, np.arange(100) // 20)
    price = price_part(both, both, SCORER)
    assert price.differences == [0.0] * 5
    assert not price.is_paid


ARM = Arm(scores=[0.9, 0.95], mean=0.925, num_train=80.0)
PRICE = Price(
    metric="accuracy", random=ARM, apart=replace(ARM, mean=0.7), differences=[0.2, 0.25], difference=0.225,
    interval=(0.1, 0.35), p=0.01,
)  # fmt: skip
LEAK = Leak(kept="groups", column="speaker", tested=[], price=PRICE)
ORDER = Candidate(
    name="order of the rows",
    column=None,
    is_order=True,
    p_features=0.001,
    p_errors=0.001,
    p=0.002,
    strength=9.0,
    speaks=True,
)
COLUMN = replace(ORDER, name="column 'who'", column="who", is_order=False, strength=4.0)


@pytest.mark.parametrize(
    ("leak", "words"),
    [
        (LEAK, "by 'speaker'"),
        (replace(LEAK, column=None), "by group"),
        (replace(LEAK, kept="times", column="day"), "in blocks of 'day'"),
        (replace(LEAK, kept="folds", column="part"), "in the folds of 'part'"),
        (replace(LEAK, kept=None, tested=[ORDER]), "in blocks of the order of the rows"),
        (replace(LEAK, kept=None, tested=[ORDER, COLUMN]), "by 'who'"),
        (replace(LEAK, kept=None, tested=[replace(COLUMN, name="folders of files", column=None)]),
         "by the folders of files"),
    ],
)  # fmt: skip
def test_what_is_kept_apart_is_named(leak, words):
    assert kept_words(leak) == words
    assert f"{words} 0.700" in price_words(leak, PRICE)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "flatter by 0.225 (0.100 to 0.350, p 0.01)"),
        ({"interval": (-0.01, 0.02)}, "costs nothing measurable"),
        ({"difference": -0.2, "interval": (-0.3, -0.1)}, "random folds say too little"),
        ({"interval": (-0.1, 0.6)}, "can't be told from noise"),
        ({"interval": None}, "too few or too alike"),
        ({"apart": replace(ARM, num_train=40.0)}, "They learn from 80 and from 40 rows"),
    ],
)
def test_noise_is_told_from_a_price(changes, said):
    assert said in price_words(LEAK, replace(PRICE, **changes))


@pytest.mark.parametrize(
    ("ends", "answer"),
    [
        ((0.1, 0.3), "too much"),
        ((-0.3, -0.1), "too little"),
        ((-0.01, 0.02), "the same, within noise"),
        ((-0.1, 0.6), "can't tell"),
        (None, "can't tell"),
    ],
)
def test_the_answer_follows_from_the_interval(ends, answer):
    assert price_answer(replace(PRICE, interval=ends)) == answer


def test_of_several_a_group_is_named_before_an_order():
    leak = replace(LEAK, kept=None, column="who", tested=[ORDER, COLUMN])
    assert leak.found == COLUMN
    assert "--group_by who" in related_words(leak)


def test_silence_names_what_was_tested():
    leak = Leak(
        kept=None,
        column=None,
        tested=[replace(ORDER, speaks=False), replace(COLUMN, speaks=False)],
        price=None,
    )
    assert leak.found is None
    assert "order of the rows, column 'who'" in related_words(leak)
    assert leak_lines(leak) == leak_lines(None) == []
