import numpy as np
import pyarrow as pa
import pytest

from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.grid import against_best, corrected_best
from hf_transfer.scores.class_scorer import ClassificationScorer
from hf_transfer.scores.statistics import best_of, corrected_resampled_t
from hf_transfer.scores.tag_scorer import TaggingScorer

SCORER = ClassificationScorer(["a", "b"])
ACCURACIES = [[0.9, 0.8, 0.85, 0.9, 0.95], [0.8, 0.8, 0.75, 0.8, 0.85], [0.88, 0.79, 0.86, 0.9, 0.9]]


def folds(accuracies):
    return [
        FoldResult(0, i, 80, 20, 0, scores={"accuracy": value}, status="failed" if value is None else "done")
        for i, value in enumerate(accuracies)
    ]


def table(right, *, num_repeats=1, shift=0):
    n = len(right) // num_repeats
    return pa.table(
        {
            "row_id": np.tile(np.arange(n) + shift, num_repeats),
            "repeat": np.repeat(np.arange(num_repeats, dtype=np.int32), n),
            "fold": np.tile(np.arange(n) % 5, num_repeats).astype(np.int32),
            "label": np.ones(len(right), np.int64),
            "prediction": np.asarray(right, np.int64),
        }
    )


def test_each_is_tested_against_the_best_and_p_is_adjusted():
    found = against_best([folds(values) for values in ACCURACIES], 0, SCORER)
    best = np.array(ACCURACIES[0])
    p = [corrected_resampled_t(best - values, 5).p for values in ACCURACIES[1:]]
    assert found[0] == {"behind": None, "p": None, "p_holm": None}
    assert [entry["behind"] for entry in found[1:]] == pytest.approx([0.08, 0.014])
    assert [entry["p"] for entry in found[1:]] == pytest.approx(p)
    assert [entry["p_holm"] for entry in found[1:]] == pytest.approx([2 * min(p), max(max(p), 2 * min(p))])


def test_only_folds_that_both_finished_are_compared():
    found = against_best([folds(ACCURACIES[0]), folds([None, *ACCURACIES[1][1:]])], 0, SCORER)[1]
    assert found["behind"] == pytest.approx(np.mean(np.subtract(ACCURACIES[0], ACCURACIES[1])[1:]))


@pytest.mark.parametrize(
    ("accuracies", "behind", "p"),
    [
        ([None] * 5, None, None),
        ([0.8, None, None, None, None], 0.1, None),
        (ACCURACIES[0], 0, 1),
        ([value - 0.25 for value in ACCURACIES[0]], 0.25, None),
    ],
)
def test_what_cannot_be_tested_has_no_p(accuracies, behind, p):
    found = against_best([folds(ACCURACIES[0]), folds(accuracies)], 0, SCORER)[1]
    assert found["behind"] == (behind if behind is None else pytest.approx(behind))
    assert found["p"] == found["p_holm"] == p


def test_the_best_of_lucky_ones_is_corrected():
    rng = np.random.default_rng(0)
    right = rng.random((12, 150)) < 0.5
    right = right[np.argsort(-right.mean(axis=1))]
    best = right.mean(axis=1).max()
    found = corrected_best([table(line) for line in right], SCORER, best, seed=0)
    assert found == pytest.approx(best_of(right, np.arange(150) % 5, seed=0))
    assert found < best - 0.03
    # What choosing flatters is taken off whatever the folds' mean is.
    assert corrected_best([table(line) for line in right], SCORER, 0.7, seed=0) == pytest.approx(
        0.7 - (best - found)
    )


def test_a_corrected_score_is_never_above_the_uncorrected_one():
    right = np.zeros((2, 100), bool)
    right[:, ::3] = True
    right[0, 0] = False
    assert corrected_best([table(line) for line in right], SCORER, 0.3, seed=0) <= 0.3
    assert corrected_best([table(line) for line in right], SCORER, None, seed=0) is None


def test_repeats_of_a_row_are_drawn_together():
    right = np.random.default_rng(1).random((4, 100)) < 0.7
    once = corrected_best([table(line) for line in right], SCORER, 0.7, seed=0)
    twice = corrected_best([table(np.tile(line, 2), num_repeats=2) for line in right], SCORER, 0.7, seed=0)
    assert twice == pytest.approx(once)


def test_configurations_of_other_rows_are_left_out():
    right = np.random.default_rng(1).random((3, 100)) < 0.7
    whole = [table(line) for line in right[:2]]
    with_less = [*whole, table(right[2][:50])]
    assert corrected_best(with_less, SCORER, 0.7, seed=0) == corrected_best(whole, SCORER, 0.7, seed=0)
    assert corrected_best([whole[0], table(right[1], shift=7)], SCORER, 0.7, seed=0) is None


def test_the_order_of_the_rows_of_a_table_does_not_matter():
    right = np.random.default_rng(1).random((2, 100)) < 0.7
    first, second = (table(line) for line in right)
    mixed = second.take(np.random.default_rng(2).permutation(100))
    assert corrected_best([first, mixed], SCORER, 0.7, seed=0) == corrected_best(
        [first, second], SCORER, 0.7, seed=0
    )


def test_scores_that_are_no_mean_over_rows_are_corrected_too():
    rng = np.random.default_rng(3)

    def tags():
        found = [["B-X"] if rng.random() < 0.6 else ["O"] for _ in range(80)]
        return pa.table(
            {
                "row_id": np.arange(80), "repeat": np.zeros(80, np.int32), "fold": np.arange(80) % 4,
                "labels": [["B-X"], ["O"]] * 40, "predictions": found,
            }
        )  # fmt: skip

    tables, scorer = [tags() for _ in range(6)], TaggingScorer(["O", "B-X", "I-X"])
    best = max(scorer.pooled(one)["f1"] for one in tables)
    tables.sort(key=lambda one: -scorer.pooled(one)["f1"])
    assert 0.4 < corrected_best(tables, scorer, best, seed=0) < best
