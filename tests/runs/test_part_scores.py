"""Each part alone: which is better, how far both are ahead, and how that is said."""

import pytest

from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.part_scores import parts_part, parts_words
from hf_transfer.scores.class_scorer import ClassificationScorer


def folds(scores, metric="accuracy"):
    return [
        FoldResult(repeat=0, fold=fold, num_train=40, num_valid=10, seed=0, scores={metric: score})
        for fold, score in enumerate(scores)
    ]


def parts(picture, text, both):
    given = {"picture": folds(picture), "text": folds(text), "both": folds(both)}
    return parts_part(given, ClassificationScorer(("a", "b")), num_folds=len(both))


@pytest.mark.parametrize(
    ("both", "said"),
    [
        ([0.9, 0.92, 0.91, 0.89], "Both beat the picture alone by"),
        ([0.8, 0.7, 0.75, 0.85], "Both cannot be told from the picture alone"),
        ([0.5, 0.52, 0.49, 0.5], "Leave the other out"),
    ],
)
def test_both_are_compared_with_the_better_part(both, said):
    found = parts([0.8, 0.75, 0.7, 0.78], [0.6, 0.65, 0.6, 0.62], both)
    assert found.best == "picture"
    assert found.ahead == pytest.approx(sum(both) / 4 - 0.7575)
    assert found.interval[0] <= found.ahead <= found.interval[1]
    assert said in parts_words(found)
    assert parts_words(found).startswith("picture alone 0.758, text alone 0.618, both ")


def test_a_fold_that_failed_is_left_out_and_one_is_not_compared():
    found = parts([0.8, 0.6], [0.6, 0.9], [0.9, None])
    assert (found.best, found.ahead, found.interval) == ("text", None, None)
    assert "not known from one fold" in parts_words(found)
    assert parts([None, None], [0.5, 0.6], [0.5, 0.6]) is None
    assert parts([0.7, 0.8], [0.5, 0.6], [None, None]) is None


def test_folds_that_differ_by_the_same_have_no_p():
    assert parts([0.5, 0.5], [0.4, 0.4], [0.75, 0.75]).p is None
