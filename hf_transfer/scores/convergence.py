"""Was a run trained for long enough? Judged by its losses, scores and closed-form probe. No torch.

A head that is far from the closed form of the features that it reads has not learned them yet, unless it
is right on its own training rows: then more training would not bring it closer. A loss that still falls
says less, as it may fall on training rows alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from hf_transfer import _guard  # noqa: F401
from hf_transfer.scores.overfitting import History
from hf_transfer.scores.paired import corrected, folds_of
from hf_transfer.scores.statistics.comparison import corrected_error

Answer = Literal["yes", "no", "can't tell"]

_LEAST_BEHIND = 0.01  # of a score, or that share of one without bound: less is no reason to train longer
_LEAST_FALL = 0.01  # of the first epoch's loss, in one epoch
MOVED = 0.1  # share of the first epoch's loss that training must have taken away to say that it learned


def judge_learning(
    results: Mapping[str, Any], histories: Mapping[str, History], overfitting: Mapping[str, Any]
) -> dict[str, Any]:
    """Judge whether more training would help; returns plain values for results.json.

    Args:
        results: What results.json holds; the part `probe` where there is one.
        histories: Epochs of each fold, by the fold's name such as `r0f3`.
        overfitting: What `overfitting.diagnose` found.

    Returns:
        `answer`, and what it follows from, None where it is not known: `solved` (whether a closed form
        that made the head itself has reached its optimum), `probe` (how far the run is behind it),
        `loss` (how it falls at the end of training) and `inner` (whether that on inner splits does).
    """
    evidence = {
        "solved": _solved(results),
        "probe": _behind_probe(results),
        "loss": final_fall(histories, folds_of(results["folds"])),
        "inner": _inner_fall(results, histories, overfitting),
    }
    return {"answer": _answer(evidence, overfitting["verdict"]), **evidence}


def _answer(evidence: Mapping[str, Any], overfits: str) -> Answer:
    probe, inner, loss = (evidence[name] for name in ("probe", "inner", "loss"))
    if evidence["solved"] is not None:
        return "yes"
    if (probe and probe["lacks"]) or (inner and inner["falls"]):
        return "no"
    if probe or inner or overfits in ("overfits", "stopped in time"):
        return "yes"
    if loss is None or (loss["falls"] and overfits == "gap"):
        return "can't tell"
    if loss["falls"]:
        return "no"
    return "yes" if loss["taken"] >= MOVED else "can't tell"


def _solved(results: Mapping[str, Any]) -> Literal[True] | None:
    """Whether the heads are optimal by construction, as closed forms; None where gradients trained them."""
    return None if results["config"].get("head_solver", "gradient") == "gradient" else True


def _behind_probe(results: Mapping[str, Any]) -> dict[str, Any] | None:
    """Compare a run with its probe on the same folds; None if fewer than two folds have both scores."""
    probe, metric = results.get("probe"), results["primary_metric"]
    if not probe:
        return None
    sign = 1 if results["higher_is_better"].get(metric, True) else -1
    solved = dict(zip(probe["folds"], probe["scores"], strict=True))
    first = [f for f in results["folds"] if f["repeat"] == 0 and f["status"] == "done"]
    pairs = [(f, solved.get(f["fold"])) for f in first if f["scores"].get(metric) is not None]
    known = [(fold, score) for fold, score in pairs if score is not None]
    if len(known) < 2:
        return None
    behind = [sign * (score - fold["scores"][metric]) for fold, score in known]
    mean, error = float(np.mean(behind)), corrected_error(behind, folds_of(results["folds"]))
    reached = float(np.mean([score for _, score in known]))
    train = _mean([fold["train_scores"].get(metric) for fold, _ in known])
    bounded = None not in (results.get("ranges") or {}).get(metric, ())
    least = _LEAST_BEHIND * (1.0 if bounded else abs(reached))
    return {
        "probe": reached,
        "run": float(np.mean([fold["scores"][metric] for fold, _ in known])),
        "train": train,
        "behind": mean,
        "error": error,
        "num_folds": len(known),
        "lacks": mean > max(error, least) and (train is None or sign * (reached - train) > 0),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def final_fall(histories: Mapping[str, History], num_folds: float) -> dict[str, Any] | None:
    """How fast the training loss still falls over the last third of the epochs.

    Args:
        histories: Epochs of each fold, with `train_loss`.
        num_folds: Folds of one repeat, k.

    Returns:
        As shares of the first epoch's loss: `fall` in one epoch, by a line through the last third of the
        epochs, with its corrected `interval` over folds; and `taken`, by all epochs. With both losses
        and `falls`: whether the fall is more than noise, and a hundredth. None where fewer than two
        folds have two epochs.
    """
    curves = [[epoch.get("train_loss") for epoch in epochs] for epochs in histories.values()]
    known = [np.asarray(curve, float) for curve in curves if len(curve) > 1 and None not in curve]
    if len(known) < 2 or any(curve[0] <= 0 for curve in known):
        return None
    falls = [_fall(curve) for curve in known]
    test, mean = corrected(falls, num_folds), float(np.mean(falls))
    interval = list(test.interval) if test else [mean, mean]  # equal in every fold
    return {
        "first": float(np.mean([curve[0] for curve in known])),
        "last": float(np.mean([curve[-1] for curve in known])),
        "fall": mean,
        "interval": interval,
        "taken": float(np.mean([1 - curve[-1] / curve[0] for curve in known])),
        "num_folds": len(known),
        "falls": interval[0] > 0 and mean >= _LEAST_FALL,
    }


def _fall(curve: Any) -> float:
    """Fall of a loss in one epoch at the end, as a share of its first value."""
    last = curve[-max(2, -(-len(curve) // 3)) :]
    return float(-np.polyfit(np.arange(len(last)), last, 1)[0] / curve[0])


def _inner_fall(
    results: Mapping[str, Any], histories: Mapping[str, History], overfitting: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Whether the loss on inner splits is still falling at the last epoch, where it is lowest."""
    turn, epochs = overfitting["turn"], results["config"]["num_epochs"]
    if not turn:
        return None
    curves = [[epoch.get("inner_loss") for epoch in history] for history in histories.values()]
    whole = [np.asarray(one, float) for one in curves if len(one) == epochs > 1 and None not in one]
    steps = [float(curve[-2] - curve[-1]) for curve in whole]
    fall = float(np.mean(steps)) if steps else None
    error = corrected_error(steps, folds_of(results["folds"])) if len(steps) > 1 else None
    falls = fall is not None and error is not None and fall > error
    return {
        "epoch": turn["epoch"],
        "fall": fall,
        "error": error,
        "falls": falls and turn["epoch"] == epochs,
    }
