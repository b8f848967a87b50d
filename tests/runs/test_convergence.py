"""Whether a run has learned enough: each piece of evidence, the answer, and its words."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_run import make_run
from hypothesis import given, settings
from hypothesis import strategies as st
from sketches import epochs_of, results_of, sketch

from hf_transfer.runs import convergence, summary
from hf_transfer.runs import learned as words_of
from hf_transfer.runs.findings import FinalFall, Learned, Overfitting

OVERFITTING: dict[str, Any] = {"verdict": "no sign", "turn": None}
SCORES = st.lists(st.floats(0, 1, width=16), min_size=3, max_size=6)


def judge_learning(results: Any, histories: Any, overfitting: Any) -> Learned:
    found = sketch(Overfitting, overfitting)
    return convergence.judge_learning(results_of(results), epochs_of(histories), found)


def final_fall(histories: Any, num_folds: float) -> FinalFall | None:
    return convergence.final_fall(epochs_of(histories), num_folds)


def summary_text(results: Any) -> str:
    return summary.summary_text(results_of(results))


def run(
    valid: Any = (0.3, 0.28, 0.26), train: float | None = 0.3, probe: Any = None, **config: Any
) -> dict[str, Any]:
    folds = [
        {
            "repeat": 0, "fold": i, "status": "done", "num_train": 80, "num_valid": 20, "notes": [],
            "scores": {"accuracy": score}, "train_scores": {} if train is None else {"accuracy": train},
        }
        for i, score in enumerate(valid)
    ]  # fmt: skip
    given = {"metric": "accuracy", "folds": list(range(len(valid))), "scores": list(probe or ())}
    settings = {"learning_rate": 2e-5, "num_epochs": 3, "optimizer": "adamw", "head_solver": "gradient"}
    if config.get("head_solver"):
        settings = {"trainable": "head"}  # a closed form has no rate and no epochs
    return {
        "primary_metric": "accuracy", "higher_is_better": {"accuracy": True}, "folds": folds,
        "probe": given if probe else None, "config": settings | config, "task": "image-classification",
        "trainable": {"spec": "head"}, "dataset": {"class_counts": {"a": 12, "b": 48}}, "confusion": [[]],
        "scores": {"accuracy": {"mean": float(np.mean(valid))}},
    }  # fmt: skip


def histories(*losses: float, inner: Any = None, num_folds: int = 3) -> dict[str, list[dict[str, Any]]]:
    """Folds whose losses differ by a thousandth."""
    inner = inner or [None] * len(losses)
    return {
        f"r0f{fold}": [
            {"train_loss": loss * (1 + fold / 1000), "inner_loss": None if low is None else low + fold / 1000}
            for loss, low in zip(losses, inner, strict=True)
        ]
        for fold in range(num_folds)
    }


def judged(results: dict[str, Any], epochs: Any = None, **overfitting: Any) -> tuple[str, str]:
    found = judge_learning(results, epochs or {}, OVERFITTING | overfitting)
    return found.answer, words_of.learned_words(results_of(results), found)


FALLING, FLAT, UNMOVED = histories(2.0, 1.5, 1.2), histories(2.0, 0.5, 0.499), histories(2.0, 1.99, 1.985)
TURN = {"turn": {"epoch": 3, "turned": False}}


@pytest.mark.parametrize(
    ("results", "epochs", "overfitting", "answer", "words"),
    [
        (run(probe=(0.9, 0.93, 0.9)), FLAT, {}, "no", "hold 0.910 accuracy (closed form, same folds); this"),
        (run(probe=(0.9, 0.93, 0.9)), FLAT, {}, "no", "and 0.300 on training rows: it has not learned"),
        (run(probe=(0.9, 0.93, 0.9), train=1.0), FALLING, {}, "yes", "more training is not what it lacks."),
        (run(probe=(0.9, 0.93, 0.9), train=None), FLAT, {}, "no", "this run reaches 0.280: it has not"),
        (run(probe=(0.3, 0.27, 0.27)), FALLING, {}, "yes", "still falls at the end, by 15.0 %"),
        (run(probe=(0.1, 0.9, 0.2)), FLAT, {}, "yes", "hold 0.400 accuracy"),  # ahead, but by noise
        (run(), FALLING, {}, "no", "Not measured by a closed form: no features are stored."),
        (run(), FALLING, {"verdict": "gap"}, "can't tell", "still falls at the end"),
        (run(), FALLING, {"verdict": "overfits"}, "yes", "still falls at the end"),
        (run(), FLAT, {}, "yes", "went from 2.002 to 0.499, and falls no more at the end."),
        (run(), UNMOVED, {}, "can't tell", "went from 2.002 to 1.987, and hardly fell at the end."),
        (run(), {}, {}, "can't tell", "Not measured"),
        (run(), histories(2.0, 1.0, 0.9, inner=[2, 1.2, 1.1]), TURN, "no", "fell by 0.100 in it."),
        (
            run(num_epochs=9), histories(2.0, 1.0, 0.9, inner=[2, 1.2, 1.1]), TURN, "yes",
            "The loss on inner splits was lowest after epoch 3.",
        ),
        (
            run((0.85, 0.9), head_solver="lbfgs"), {}, {}, "yes",
            "By construction: head_solver=lbfgs gave the head its optimum on the training rows.",
        ),
        (
            run((0.8, 0.8), head_solver="lbfgs"), {}, {}, "yes",
            "Its accuracy of 0.800 is no more than always giving the commonest class has (0.800), so that",
        ),
    ],
)  # fmt: skip
def test_each_finding_has_its_answer_and_words(
    results: dict[str, Any], epochs: Any, overfitting: dict[str, Any], answer: str, words: str
) -> None:
    found = judged(results, epochs, **overfitting)
    assert found[0] == answer
    assert words in found[1]
    assert ("To learn more" in found[1]) == (answer == "no")


@pytest.mark.parametrize(
    ("config", "spec", "advice"),
    [
        ({}, "head", "raise learning_rate from 2e-05 to about 0.01 or num_epochs from 3 to 10, or solve it"),
        ({"learning_rate": 1e-2, "num_epochs": 5}, "head", "0.01 to about 0.03 or num_epochs from 5 to 15"),
        ({"optimizer": "sgd", "learning_rate": 1e-3}, "head", "learning_rate from 0.001 to about 0.003"),
        ({}, "last:2", "raise learning_rate from 2e-05 to about 6e-05 or num_epochs from 3 to 10."),
    ],
)  # fmt: skip
def test_what_to_raise_is_named(config: dict[str, Any], spec: str, advice: str) -> None:
    results = run(probe=(0.9, 0.93, 0.9), **config) | {"trainable": {"spec": spec}}
    assert advice in judged(results)[1]


@settings(max_examples=60, deadline=None)
@given(SCORES, st.floats(0, 1, width=16))
def test_a_run_as_good_as_its_probe_lacks_nothing(scores: list[float], train: float) -> None:
    found = judge_learning(run(scores, train, probe=scores), {}, OVERFITTING)
    assert (found.answer, found.probe.behind) == ("yes", 0)


def test_folds_without_both_scores_are_left_out() -> None:
    results = run(probe=(0.9, None, 0.8))
    assert judge_learning(results, {}, OVERFITTING).probe.num_folds == 2
    results["folds"][0]["status"] = "failed"
    assert judge_learning(results, {}, OVERFITTING).probe is None


@settings(max_examples=60, deadline=None)
@given(st.floats(0.1, 10), st.floats(0, 0.09), st.integers(2, 12), st.floats(1e-3, 1e3))
def test_a_line_falls_by_its_slope_in_any_unit(first: float, fall: float, epochs: int, unit: float) -> None:
    losses = [unit * first * (1 - fall * epoch) for epoch in range(epochs)]
    found = final_fall(histories(*losses), 3)
    assert found is not None
    assert found.fall == pytest.approx(fall, abs=1e-9)
    assert found.taken == pytest.approx(fall * (epochs - 1), abs=1e-9)


def test_noise_is_no_fall() -> None:
    rng = np.random.default_rng(0)
    noisy = {
        f"r0f{fold}": [{"train_loss": 1 + 0.2 * float(rng.normal())} for _ in range(6)] for fold in range(5)
    }
    found = final_fall(noisy, 5)
    assert found is not None
    assert not found.falls


@pytest.mark.parametrize("epochs", [histories(1.0), histories(2.0, 1.0, num_folds=1), {}])
def test_one_epoch_or_one_fold_tells_of_no_fall(epochs: Any) -> None:
    assert final_fall(epochs, 5) is None


def test_the_summary_ends_with_what_to_raise(tmp_path) -> None:
    results = make_run(tmp_path / "run")
    assert "Has it learned enough" not in summary_text(results)
    found = judge_learning(run(probe=(0.9, 0.93, 0.9)), {}, OVERFITTING)
    last = summary_text(results | {"learned": found}).splitlines()[-1]
    assert last.startswith("Has it learned enough? No. The pretrained features hold 0.910")
    assert "To learn more, raise learning_rate" in last
    assert "learned enough" not in summary_text(results | {"learned": replace(found, answer="yes")})
