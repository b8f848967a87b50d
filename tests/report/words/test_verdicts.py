from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_run import Shape, make_run
from sketches import changed, results_of, sketch

from hf_transfer.report.compare import Run, compared_with
from hf_transfer.report.words.verdicts import (
    Verdict,
    good_start,
    learned,
    overfits,
    published,
    settings,
    verdicts,
)
from hf_transfer.runs.companions import Other
from hf_transfer.runs.findings import Overfitting
from hf_transfer.runs.rank_record import RankRecord

CLASSES = {"class_counts": {"negative": 30, "positive": 90}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "good"
    return Run("good", results_of(make_run(folder, shape=Shape(num_rows=100, skill=3.0))), folder)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "scratch"
    results = results_of(make_run(folder, shape=Shape(num_rows=100, skill=0.2), from_scratch=True))
    return Run("scratch", results, folder)


def against(run: Run, other: Run) -> list[Other]:
    return compared_with(run, [other])


def test_every_question_has_an_answer(run: Run) -> None:
    found = verdicts(run.results)
    assert len(found) == 5
    assert all(verdict.question.endswith("?") and verdict.answer and verdict.words for verdict in found)


def test_without_a_control_the_start_is_not_measured_but_set_beside_chance(run: Run) -> None:
    found = good_start(changed(run.results, dataset=CLASSES))
    assert found.answer == "not measured"
    assert "commonest class would reach 0.750 accuracy" in found.words
    assert "hf-transfer compare RUN OTHER" in found.words


def test_a_run_from_random_weights_is_a_control_itself(scratch: Run) -> None:
    assert good_start(scratch.results).answer == "not asked"


def test_a_better_run_from_pretrained_weights_is_a_good_start(run: Run, scratch: Run) -> None:
    found = good_start(run.results, against(run, scratch))
    assert found.answer == "yes"
    assert found.words.startswith("scratch started from random weights. good is better than scratch by ")


def test_pretrained_weights_may_harm(run: Run, scratch: Run) -> None:
    better = Run("better", changed(run.results, from_scratch=True), run.folder)
    worse = Run("worse", changed(scratch.results, from_scratch=False), scratch.folder)
    assert good_start(worse.results, against(worse, better)).answer == "no, it harms"


def test_equal_runs_leave_it_open(run: Run) -> None:
    same = Run("same", changed(run.results, from_scratch=True), run.folder)
    assert good_start(run.results, against(run, same)).answer == "it changes nothing"


def test_another_budget_is_named(run: Run, scratch: Run) -> None:
    other = Run("o", changed(scratch.results, config={"num_epochs": 9}), scratch.folder)
    assert "also differ in num_epochs (9 there, 3 here)" in good_start(run.results, against(run, other)).words
    assert "differ" not in good_start(run.results, against(run, scratch)).words


def test_what_a_head_in_closed_form_has_not_is_no_other_setting(run: Run, scratch: Run) -> None:
    auto = dict.fromkeys(("num_epochs", "learning_rate", "layer_decay", "head_start", "warmup"), "auto")
    solved = auto | {"trainable": "head", "head_solver": "lbfgs"}
    mine = Run("mine", changed(run.results, config=solved), run.folder)
    words = good_start(mine.results, against(mine, scratch)).words
    assert "head_solver (gradient there, lbfgs here)" in words
    assert "auto" not in words


def test_another_run_gets_a_question_of_its_own(run: Run, scratch: Run) -> None:
    other = Run("other", changed(scratch.results, from_scratch=False), scratch.folder)
    found = verdicts(run.results, against=against(run, other))
    assert [v.answer for v in found if v.question == "Is it better than other?"] == ["yes"]
    assert found[0].answer == "not measured"


def ranked(scratch: str, fingerprint: str = "5d41402abc4b2a76", **changes: Any) -> RankRecord:
    """What rank.json holds of the run's base model."""

    def against(verdict: str, other: str) -> dict[str, Any]:
        return {"other": other, "difference": 0.2, "interval": [0.1, 0.3], "p_better": 0.01, "p_worse": None,
                "verdict": verdict}  # fmt: skip

    candidate = {
        "base_model": "FacebookAI/roberta-base", "shuffled": {"leak": False},
        "against": {"scratch": against(scratch, "random weights"), "baseline": against("better", "words")},
    }  # fmt: skip
    dataset = {"fingerprint": fingerprint}
    parts = {"measure": "accuracy", "dataset": dataset, "candidates": [candidate | changes]}
    return sketch(RankRecord, parts)


@pytest.mark.parametrize(
    ("verdict", "answer"), [("better", "yes"), ("worse", "no, it harms"), ("can't tell", "can't tell")]
)
def test_a_ranking_answers_for_the_frozen_features(run: Run, verdict: str, answer: str) -> None:
    found = good_start(run.results, rank=ranked(verdict))
    assert found.answer == answer
    assert (
        "accuracy of its frozen features: against random weights +0.200 (0.100 to 0.300, p 0.01)"
        in found.words
    )
    assert "against words +0.200" in found.words


@pytest.mark.parametrize(
    "changes",
    [{"base_model": "other"}, {"against": {"scratch": None, "baseline": None}}],
    ids=["another model", "no control"],
)
def test_a_ranking_that_does_not_ask_this_is_left_out(run: Run, changes: dict[str, Any]) -> None:
    assert good_start(run.results, rank=ranked("better", **changes)).answer == "not measured"


def test_a_ranking_of_other_rows_is_left_out(run: Run) -> None:
    other = ranked("better", fingerprint="other")
    assert good_start(run.results, rank=other).answer == "not measured"


def test_a_leak_in_a_ranking_leaves_no_answer(run: Run) -> None:
    found = good_start(run.results, rank=ranked("better", shuffled={"leak": True}))
    assert found.answer == "can't tell"
    assert "shuffled labels score above chance" in found.words


def test_a_control_that_was_trained_goes_before_a_ranking(run: Run, scratch: Run) -> None:
    found = good_start(run.results, against(run, scratch), ranked("worse"))
    assert found.answer == "yes"
    assert "frozen features" in found.words


def entry(rate: float, mean: float, p: float | None, best: bool = False) -> dict[str, Any]:
    scores = {"f1_macro": {"mean": mean, "std": 0.1, "num_folds": 5}}
    behind = None if best else 0.9 - mean
    return {"learning_rate": rate, "weight_decay": 0.0, "best": best, "scores": scores, "folds": [],
            "behind": behind, "p": p, "p_holm": p, "bbc": 0.88 if best else None}  # fmt: skip


def of_grid(run: Run, *entries: dict[str, Any]) -> Verdict:
    return settings(changed(run.results, grid=list(entries)))


def test_one_configuration_measures_nothing(run: Run) -> None:
    found = settings(run.results)
    assert (found.answer, found.words) == (
        "not measured", "Only trainable=last:2 with learning_rate=2e-05 was tried.",
    )  # fmt: skip


def test_the_best_of_a_grid_is_named_when_the_others_are_worse(run: Run) -> None:
    found = of_grid(run, entry(1e-4, 0.6, 0.01), entry(1e-3, 0.9, None, best=True), entry(1e-2, 0.5, 0.002))
    assert found.answer == "learning_rate=0.001"
    assert found.words == (
        "learning_rate=0.001 has the best mean of 3, 0.900 F1 (macro), chosen on these folds. Corrected for "
        "the choice, that is 0.880. Worse than it: learning_rate=0.0001 (by 0.300, p 0.01); "
        "learning_rate=0.01 (by 0.400, p 0.002). Of the layers, only trainable=last:2 was tried."
    )


def test_configurations_that_cannot_be_told_apart_are_no_choice(run: Run) -> None:
    found = of_grid(run, entry(1e-4, 0.6, 0.01), entry(1e-3, 0.9, None, best=True), entry(1e-2, 0.89, 0.7))
    assert found.answer == "can't tell 2 of 3 apart"
    assert "Can't be told from it with this much data: learning_rate=0.01 (by 0.010, p 0.7)." in found.words


@pytest.mark.parametrize(
    ("rate", "words"),
    [(1e-5, "lowest that was tried, so a lower"), (1.0, "highest that was tried, so a higher")],
)
def test_a_best_rate_at_the_edge_asks_for_more(run: Run, rate: float, words: str) -> None:
    assert words in of_grid(run, entry(1e-3, 0.8, 0.2), entry(rate, 0.9, None, best=True)).words


def test_a_long_grid_is_cut_short(run: Run) -> None:
    entries = [entry(10.0**-i, 0.9 - i / 100, 0.5) for i in range(1, 10)]
    assert "; and 3 more." in of_grid(run, entry(1.0, 0.9, None, best=True), *entries).words


FOUND: dict[str, Any] = {
    "verdict": "gap", "metric": "f1_macro", "turn": None, "above_chance": None, "more_frozen": None,
    "gaps": {"f1_macro": {"train": 0.99, "valid": 0.8, "mean": 0.19, "interval": [0.1, 0.28], "p": 0.01}},
}  # fmt: skip
TURN = {"turned": True, "epoch": 4, "rise": 0.3, "interval": [0.2, 0.4], "train_fall": 0.5, "num_folds": 5}


@pytest.mark.parametrize(
    ("changes", "answer", "words"),
    [
        ({}, "not shown", "a gap of 0.190 (0.100 to 0.280), which by itself is not overfitting."),
        ({"verdict": "no sign"}, "no sign of it", "which may be nothing."),
        ({"verdict": "unknown"}, "can't tell", "(0.100 to 0.280): more than nothing, but folds"),
        ({"verdict": "unknown", "gaps": {}}, "can't tell", "No fold was scored on training rows"),
        ({"verdict": "overfits", "turn": TURN}, "yes", "After epoch 4 the loss on inner splits rises by 0.3"),
        ({"verdict": "overfits", "turn": TURN}, "yes", "The weights after the last epoch were kept."),
        (
            {"verdict": "stopped in time", "turn": TURN}, "not as it was stopped",
            "Each fold kept the weights of its best epoch.",
        ),
        ({"turn": TURN | {"turned": False}}, "not shown", "does not rise by more than its noise"),
        (
            {
                "verdict": "overfits", "turn": TURN | {"turned": False},
                "above_chance": {"chance": 0.693, "mean": 0.5, "interval": [0.2, 0.8]},
            },
            "yes, in its probabilities", "is 0.500 (0.200 to 0.800) above 0.693",
        ),
        (
            {"verdict": "overfits", "more_frozen": {"name": "head", "ahead": 0.1, "error": 0.02}}, "yes",
            "head trains fewer parameters on the same folds and is better by 0.100 F1 (macro), more than one "
            "corrected standard error (0.020).",
        ),
    ],
)  # fmt: skip
def test_each_finding_has_its_words(run: Run, changes: dict[str, Any], answer: str, words: str) -> None:
    found = overfits(run.results, sketch(Overfitting, FOUND | changes))
    assert found.answer == answer
    assert words in found.words


def test_what_a_run_has_learned_is_taken_from_its_results(run: Run) -> None:
    stored = {"answer": "no", "solved": None, "probe": None, "loss": None, "inner": None}
    found = learned(changed(run.results, learned=stored), sketch(Overfitting, FOUND))
    assert (found.question, found.answer) == ("Has it learned enough?", "no")
    assert "raise learning_rate from 2e-05 to about 6e-05" in found.words


def test_a_better_run_that_other_rows_may_not_bear_out_is_so_on_these_rows(run: Run, scratch: Run) -> None:
    (other,) = against(run, scratch)
    likely = Other(other.name, True, other.settings, replace(other.pair, p_adjusted=0.075))
    answer = "on these rows yes; with other training rows likely (p 0.075)"
    assert good_start(run.results, [likely]).answer == answer


def test_what_is_published_is_told_with_its_test(run: Run) -> None:
    found = published(changed(run.results, test={"num_rows": 40, "scores": {"f1_macro": 0.75}}))
    assert "On 40 rows kept apart they reach 0.750 F1 (macro)." in found.words
    assert "No rows are left to score these weights on." in published(run.results).words
    assert "on 4 of 5 parts of the rows" in published(run.results).words


def test_without_weights_nothing_is_published(run: Run) -> None:
    assert published(changed(run.results, final={"kind": "none"})).answer == "no weights"


def test_the_diagnosis_of_the_results_is_taken(run: Run, tmp_path: Path) -> None:
    stored = FOUND | {"verdict": "no sign"}
    answers = [v.answer for v in verdicts(changed(run.results, overfitting=stored))]
    assert "no sign of it" in answers
