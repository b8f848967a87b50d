from dataclasses import replace

import pytest

from hf_transfer import FoldResult, RunConfig
from hf_transfer.runs.aggregate import best_of, choice_notes, class_counts, final_epochs, frozen_proof
from hf_transfer.runs.records import FrozenProof
from hf_transfer.scores.class_scorer import ClassificationScorer

SCORER = ClassificationScorer(["no", "yes"])
FIRST, SECOND = RunConfig(learning_rates=(1e-3, 1e-2)).grid()


def fold(accuracy=None, **changes):
    result = FoldResult(
        0, 0, 400, 100, 1, scores={"accuracy": accuracy}, frozen_hash_before="a", frozen_hash_after="a"
    )
    return replace(result, **changes)


LOST = fold(status="failed", scores={})


@pytest.mark.parametrize(
    ("first", "second", "best"),
    [
        ([fold(0.5), fold(0.6)], [fold(0.9), fold(0.1)], FIRST),
        ([fold(0.5), fold(0.5)], [fold(0.9), fold(0.2)], SECOND),
        ([fold(0.5), fold(0.5)], [fold(0.9), LOST], FIRST),
        ([fold(None), fold(None)], [fold(0.1), fold(None)], SECOND),
        ([fold(0.5)], [fold(0.5)], FIRST),
    ],
)
def test_the_best_has_all_folds_first_and_then_the_best_mean(first, second, best):
    assert best_of({FIRST: first, SECOND: second}, SCORER) == best


def with_losses(accuracies, loss):
    return [fold(value, scores={"accuracy": value, "log_loss": loss}) for value in accuracies]


def test_ties_within_one_standard_error_go_to_the_lower_loss():
    first, second = with_losses([0.9, 0.8, 0.95], 2.5), with_losses([0.88, 0.82, 0.94], 0.4)
    results = {FIRST: first, SECOND: second}
    assert best_of(results, SCORER) == SECOND
    (_, tie) = choice_notes(results, SECOND, SCORER)
    assert "a better mean accuracy, by less than a standard error. Of those that close, the reported" in tie
    clear = {FIRST: first, SECOND: with_losses([0.8, 0.7, 0.84], 0.4)}
    assert best_of(clear, SCORER) == FIRST
    assert best_of(results, SCORER.headed_by("log_loss")) == SECOND
    assert best_of({FIRST: first, SECOND: [*second[:2], LOST]}, SCORER) == FIRST


def test_a_proof_needs_every_fold_unmoved():
    moved = fold(frozen_hash_after="b")
    assert frozen_proof(["stem"], [fold(), LOST]) == FrozenProof(["stem"], "a", "a", True)
    assert frozen_proof(["stem"], [fold(), moved]).equal is False
    assert frozen_proof([], [fold()]) is frozen_proof(["stem"], [LOST]) is None


def test_the_final_model_trains_the_median_of_the_finished_folds_epochs():
    folds = [fold(num_epochs=n) for n in (1, 4, 9)]
    assert final_epochs([*folds, replace(LOST, num_epochs=100)]) == 4


def test_labels_are_counted_by_name_for_rows_and_for_words():
    assert class_counts([0, 1, 1], ("no", "yes", "maybe")) == {"no": 1, "yes": 2, "maybe": 0}
    assert class_counts([[0, 2], [], [2]], ("O", "B-A", "I-A")) == {"O": 1, "B-A": 0, "I-A": 2}


def test_notes_say_what_was_chosen_left_out_and_lost():
    early = RunConfig(early_stopping=True)
    (stopping, lost) = choice_notes({early: [fold(num_train=200), LOST]}, early, SCORER)
    assert stopping.startswith("Early stopping was left out where a fold has fewer than 300")
    assert lost == (
        "1 of 2 folds failed and are not part of the scores. The final model is one of all rows all the same."
    )
    (chosen,) = choice_notes({FIRST: [fold()], SECOND: [fold()]}, SECOND, SCORER)
    assert chosen.startswith(
        "Chosen from 2 configurations by accuracy on these same folds (learning_rate=0.01"
    )
    assert choice_notes({FIRST: [fold()]}, FIRST, SCORER) == []
