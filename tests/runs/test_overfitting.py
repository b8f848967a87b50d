import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_run import Shape, make_run
from hypothesis import given, settings
from hypothesis import strategies as st
from sketches import epochs_of, results_of, sketch

from hf_transfer.runs import overfitting
from hf_transfer.runs.findings import Overfitting, Turn
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.overfitting import Rival

Epochs = list[dict[str, Any]]


def diagnose(
    results: dict[str, Any], histories: dict[str, Epochs], rivals: Sequence[Rival] = ()
) -> Overfitting:
    return overfitting.diagnose(results_of(results), epochs_of(histories), rivals)


def inner_turn(histories: dict[str, Epochs], num_folds: float) -> Turn | None:
    return overfitting.inner_turn(epochs_of(histories), num_folds)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return make_run(tmp_path_factory.mktemp("runs") / "reviews", shape=Shape(num_rows=60))


def with_folds(results: dict[str, Any], train: Any, valid: Any, metric: str = "f1_macro") -> dict[str, Any]:
    changed = copy.deepcopy(results)
    for fold, on_train, on_valid in zip(changed["folds"], train, valid, strict=True):
        fold["train_scores"] = {metric: on_train}
        fold["scores"] = {metric: on_valid}
    return changed


def curves(inner: np.ndarray, train: np.ndarray | None = None) -> dict[str, Epochs]:
    """One fold a line of `inner`, (folds, epochs); the training loss falls unless given."""
    train = np.linspace(1, 0.1, inner.shape[1]) if train is None else train
    return {
        f"r0f{i}": [
            {"epoch": e + 1, "inner_loss": float(value), "train_loss": float(train[e])}
            for e, value in enumerate(line)
        ]
        for i, line in enumerate(inner)
    }


def turning(rng: np.random.Generator, rise: float) -> np.ndarray:
    """Five folds that fall for five epochs and rise for five."""
    course = np.concatenate([np.linspace(1, 0.5, 5), np.linspace(0.5, 0.5 + rise, 6)[1:]])
    return course + rng.normal(0, 0.02, (5, 10))


def test_a_gap_alone_is_not_overfitting(results: dict[str, Any]) -> None:
    found = diagnose(with_folds(results, [0.99, 0.98, 1, 0.97, 0.99], [0.8, 0.82, 0.79, 0.81, 0.8]), {})
    assert found.verdict == "gap"
    gap = found.gaps["f1_macro"]
    assert (gap.train, gap.valid, gap.mean) == pytest.approx((0.986, 0.804, 0.182))
    assert gap.interval[0] > 0


def test_an_interval_that_holds_0_is_no_sign(results: dict[str, Any]) -> None:
    found = diagnose(with_folds(results, [0.8, 0.9, 0.7, 0.8, 0.85], [0.82, 0.85, 0.75, 0.8, 0.8]), {})
    assert found.verdict == "no sign"


def test_a_large_gap_that_few_folds_cannot_show_is_not_called_none(results: dict[str, Any]) -> None:
    found = diagnose(with_folds(results, [0.9, 0.8, 0.83, None, None], [0.3, 0.75, 0.48, 0.5, 0.5]), {})
    assert found.gaps["f1_macro"].interval[0] < 0 < found.gaps["f1_macro"].mean
    assert found.verdict == "unknown"


def test_rows_that_score_worse_in_training_are_no_gap(results: dict[str, Any]) -> None:
    found = diagnose(with_folds(results, [0.8, 0.82, 0.79, 0.81, 0.8], [0.99, 0.98, 1, 0.97, 0.99]), {})
    assert found.verdict == "no sign"


def test_without_scores_of_training_rows_nothing_is_known(results: dict[str, Any]) -> None:
    found = diagnose(with_folds(results, [None] * 5, [0.8, 0.82, 0.79, 0.81, 0.8]), {})
    assert (found.verdict, found.gaps) == ("unknown", {})


def test_only_folds_with_both_sides_count(results: dict[str, Any]) -> None:
    found = diagnose(with_folds(results, [0.9, None, 1.0, 0.9, 0.8], [0.7, 0.1, 0.9, None, 0.5]), {})
    gap = found.gaps["f1_macro"]
    assert (gap.train, gap.valid, gap.mean, gap.num_folds) == pytest.approx((0.9, 0.7, 0.2, 3))


@pytest.mark.parametrize(("stopping", "verdict"), [(False, "overfits"), (True, "stopped in time")])
def test_an_inner_loss_that_turns_up_is_overfitting_unless_training_stopped(
    results: dict[str, Any], stopping: bool, verdict: str
) -> None:
    run = results | {"config": results["config"] | {"early_stopping": stopping}}
    found = diagnose(run, curves(turning(np.random.default_rng(0), rise=0.3)))
    assert found.verdict == verdict
    turn = found.turn
    assert 4 <= turn.epoch <= 6
    assert turn.rise == pytest.approx(0.3, abs=0.05)


def test_a_loss_that_falls_to_the_end_does_not_turn() -> None:
    inner = np.linspace(1, 0.5, 10) + np.random.default_rng(0).normal(0, 0.02, (5, 10))
    turn = inner_turn(curves(inner), 5)
    assert turn is not None
    assert not turn.turned


def test_a_rise_while_training_does_not_improve_is_no_turn() -> None:
    inner = turning(np.random.default_rng(0), rise=0.3)
    turn = inner_turn(curves(inner, train=np.linspace(0.1, 1, 10)), 5)
    assert turn is not None
    assert turn.interval[0] > 0
    assert not turn.turned


@pytest.mark.slow
def test_noise_seldom_turns_though_each_curve_ends_above_its_lowest_point() -> None:
    rng = np.random.default_rng(1)
    flat = [rng.normal(0.5, 0.05, (5, 10)) for _ in range(200)]
    assert all((lines[:, -1] >= lines.min(axis=1)).all() for lines in flat)
    turned = sum(inner_turn(curves(lines), 5).turned for lines in flat)
    assert turned <= 0.05 * len(flat)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(2, 10), min_size=2, max_size=5))
def test_curves_may_end_at_different_epochs(seed: int, lengths: list[int]) -> None:
    inner = np.random.default_rng(seed).random((len(lengths), 10))
    histories = {
        name: epochs[:length] for (name, epochs), length in zip(curves(inner).items(), lengths, strict=True)
    }
    turn = inner_turn(histories, 5)
    assert turn is not None
    assert 1 <= turn.epoch <= max(lengths)
    assert turn.num_folds == len(lengths)


@pytest.mark.parametrize(
    "histories",
    [
        {},
        curves(np.ones((1, 5))),
        {"r0f0": [], "r0f1": []},
        {"r0f0": [{"epoch": 1, "inner_loss": None, "train_loss": 1.0}] * 3} | curves(np.ones((1, 5))),
    ],
)
def test_fewer_than_two_inner_curves_are_none(histories: dict[str, Epochs]) -> None:
    assert inner_turn(histories, 5) is None


def rival(results: dict[str, Any], name: str, ahead: Any, parameters: int) -> Rival:
    folds = copy.deepcopy(results["folds"])
    for fold, more in zip(folds, ahead, strict=True):
        fold["scores"]["f1_macro"] += more
    return Rival(name, parameters, sketch(list[FoldResult], folds))


def test_a_rival_that_froze_more_and_won_is_overfitting(results: dict[str, Any]) -> None:
    ahead = (0.1, 0.11, 0.09, 0.12, 0.1)
    found = diagnose(
        results, {}, [rival(results, "head", ahead, 10), rival(results, "worse", (-x for x in ahead), 9)]
    )
    assert found.verdict == "overfits"
    assert found.more_frozen.name == "head"
    assert found.more_frozen.ahead == pytest.approx(np.mean(ahead))


@pytest.mark.parametrize(
    ("ahead", "parameters"),
    [((0.1, 0.11, 0.09, 0.12, 0.1), 10**9), ((0.2, -0.2, 0.15, -0.1, 0.05), 10)],
    ids=["it trains more", "within one error"],
)
def test_other_rivals_are_not(results: dict[str, Any], ahead: Any, parameters: int) -> None:
    assert diagnose(results, {}, [rival(results, "other", ahead, parameters)]).more_frozen is None


def test_entries_of_a_grid_that_name_their_layers_are_rivals(results: dict[str, Any]) -> None:
    better = rival(results, "", (0.1, 0.11, 0.09, 0.12, 0.1), 0).folds
    grid = [
        {"trainable": "head", "parameters": 10, "best": False, "folds": better},
        {"trainable": "all", "parameters": 99, "best": True, "folds": results["folds"]},
    ]
    assert diagnose(results | {"grid": grid}, {}).more_frozen.name == "trainable=head"
    plain = [{"learning_rate": 1e-3, "best": False, "folds": better}]
    assert diagnose(results | {"grid": plain}, {}).more_frozen is None


def losses(results: dict[str, Any], train: Any, valid: Any) -> dict[str, Any]:
    changed = with_folds(results, train, valid, "log_loss")
    return changed | {"dataset": results["dataset"] | {"class_counts": {"negative": 30, "positive": 30}}}


def test_a_held_out_loss_above_that_of_no_model_is_overfitting(results: dict[str, Any]) -> None:
    found = diagnose(losses(results, [0.01] * 5, [1.3, 1.4, 1.2, 1.5, 1.35]), {})
    assert found.verdict == "overfits"
    assert found.above_chance.chance == pytest.approx(np.log(2))
    assert found.above_chance.mean == pytest.approx(1.35 - np.log(2))


@pytest.mark.parametrize(
    ("train", "valid"),
    [
        (0.01, (0.6, 0.5, 0.65, 0.4, 0.55)),
        (0.01, (0.69, 0.75, 0.6, 0.72, 0.7)),
        (0.9, (1.3, 1.4, 1.2, 1.5, 1.35)),
    ],
    ids=["below it", "perhaps above", "training is above too"],
)
def test_any_other_loss_is_not_above_chance(results: dict[str, Any], train: float, valid: Any) -> None:
    assert diagnose(losses(results, [train] * 5, valid), {}).above_chance is None


def test_tagged_words_have_no_log_loss_to_go_by(tmp_path: Path) -> None:
    results = make_run(tmp_path / "tags", "token-classification", Shape(num_rows=30))
    found = diagnose(results, {})
    assert list(found.gaps) == ["f1"]
    assert found.above_chance is None
