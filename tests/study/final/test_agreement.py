import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_transfer.runs.final_record import Agreement
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.study.final.agreement import SLACK, agreement, agreement_note
from hf_transfer.tasks.targets.classes import Classes
from hf_transfer.tasks.targets.label_sets import LabelSets
from hf_transfer.tasks.targets.numbers import Numbers
from hf_transfer.tasks.targets.tags import Tags

NAMES = ("a", "b", "c")
ROWS = st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=40)


def folds(*scores: tuple[float | None, int]) -> list[FoldResult]:
    return [
        FoldResult(0, i, 10, 5, 0, train_scores={"accuracy": score}, train_rows_scored=rows)
        for i, (score, rows) in enumerate(scores)
    ]


def tables(rows):
    labels, others, own = zip(*rows, strict=True)
    ids = list(range(len(rows)))
    final = pa.table({"row_id": ids[::-1], "prediction": own[::-1], "label": labels[::-1]})
    return final, pa.table({"row_id": ids, "prediction": others, "label": labels})


@given(ROWS)
def test_a_model_that_learned_as_well_as_the_folds_always_meets_what_is_expected(rows):
    values = np.array(rows)
    right = float((values[:, 2] == values[:, 0]).mean())
    found = agreement(*tables(rows), folds((right, 10)), Classes(NAMES))
    assert found.share == pytest.approx((values[:, 1] == values[:, 2]).mean())
    assert found.share >= found.expected - 1e-12
    assert agreement_note(found) is None


def test_one_that_learned_nothing_is_noted():
    rows = [(i % 2, i % 2, 0) for i in range(20)]
    found = agreement(*tables(rows), folds((1.0, 10), (0.9, 30)), Classes(NAMES))
    assert found == Agreement(0.5, pytest.approx(0.925))
    assert "50.0% of what it learned from, where 92.5% or more" in agreement_note(found)


def test_words_are_compared_one_by_one_in_every_repeat():
    labels = [["O", "B-X"], ["O"]]
    final = pa.table({"row_id": [1, 0], "predictions": [["O"], ["O", "B-X"]], "labels": labels[::-1]})
    others = pa.table(
        {
            "row_id": [0, 1, 0, 1],
            "predictions": [["O", "O"], ["O"], ["O", "B-X"], ["B-X"]],
            "labels": labels * 2,
        }
    )
    tags = Tags(("O", "B-X", "I-X"))
    assert agreement(final, others, folds((1.0, 5)), tags).share == pytest.approx(4 / 6)


def test_without_scores_on_training_rows_nothing_is_expected():
    found = agreement(*tables([(0, 0, 1)]), folds((None, 0)), Classes(NAMES))
    assert found == Agreement(0.0, None)
    assert agreement_note(found) is None


def test_a_little_less_than_expected_is_not_noted():
    assert agreement_note(Agreement(0.9, 0.9 + SLACK - 0.001)) is None
    assert agreement_note(Agreement(0.9, 0.9 + SLACK + 0.001)) is not None


def test_sets_of_labels_agree_as_a_whole_and_numbers_are_not_right_or_wrong():
    sets = pa.table({"row_id": [0, 1, 2], "prediction": [[0, 1], [], [1]], "label": [[0, 1], [], [0]]})
    other = sets.set_column(1, "prediction", pa.array([[0], [], [1]]))
    found = agreement(sets, other, folds((None, 0)), LabelSets(["a", "b"]))
    assert found == Agreement(pytest.approx(2 / 3), None)
    assert agreement(sets, other, [], Numbers(["stars"])) == Agreement(None, None)
