"""Was a run trained for long enough? Judged by its losses, scores and closed-form probe. No torch.

A head that is far from the closed form of the features that it reads has not learned them yet, unless it
is right on its own training rows: then more training would not bring it closer. A loss that still falls
says less, as it may fall on training rows alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from hf_transfer import _guard  # noqa: F401
from hf_transfer.runs.commonest import without_skill
from hf_transfer.runs.findings import BehindProbe, FinalFall, InnerFall, Learned, Overfitting
from hf_transfer.runs.overfitting import History
from hf_transfer.runs.paired import corrected, folds_of
from hf_transfer.runs.records import Results
from hf_transfer.scores.statistics import corrected_error

Answer = Literal["yes", "no", "can't tell"]

_LEAST_BEHIND = 0.01  # of a score, or that share of one without bound: less is no reason to train longer
_LEAST_FALL = 0.01  # of the first epoch's loss, in one epoch
MOVED = 0.1  # share of the first epoch's loss that training must have taken away to say that it learned


def judge_learning(results: Results, histories: Mapping[str, History], overfitting: Overfitting) -> Learned:
    """Say whether more training would help.

    Args:
        results: What results.json holds; the part `probe` where there is one.
        histories: Epochs of each fold, by the fold's name such as `r0f3`.
        overfitting: What `overfitting.diagnose` found.

    Returns:
        The answer, and what it follows from, None where it is not known: whether a closed form made the
        head itself, how far the run is behind one, and how losses fall at the end of training.
    """
    found = Learned(
        answer="can't tell",
        solved=True if results.config.solved else None,
        probe=_behind_probe(results),
        loss=final_fall(histories, folds_of(results.folds)),
        inner=_inner_fall(results, histories, overfitting),
    )
    answer = _answer(found, overfitting.verdict)
    if answer == "yes" and found.solved is None and without_skill(results):
        answer = "can't tell"  # a probe on the same features may know no more
    return replace(found, answer=answer)


def _answer(found: Learned, overfits: str) -> Answer:
    probe, inner, loss = found.probe, found.inner, found.loss
    if found.solved is not None:
        return "yes"
    if (probe and probe.lacks) or (inner and inner.falls):
        return "no"
    if probe or inner or overfits in ("overfits", "stopped in time"):
        return "yes"
    if loss is None or (loss.falls and overfits == "gap"):
        return "can't tell"
    if loss.falls:
        return "no"
    return "yes" if loss.taken >= MOVED else "can't tell"


def _behind_probe(results: Results) -> BehindProbe | None:
    """Compare a run with its probe on the same folds; None if fewer than two folds have both scores."""
    probe, metric = results.probe, results.primary_metric
    if not probe:
        return None
    sign = results.sign
    solved = dict(zip(probe.folds, probe.scores, strict=True))
    first = [f for f in results.done if f.repeat == 0]
    pairs = [(fold, fold.scores.get(metric), solved.get(fold.fold)) for fold in first]
    known = [(fold, own, score) for fold, own, score in pairs if own is not None and score is not None]
    if len(known) < 2:
        return None
    behind = [sign * (score - own) for _, own, score in known]
    mean, error = float(np.mean(behind)), corrected_error(behind, folds_of(results.folds))
    reached = float(np.mean([score for *_, score in known]))
    train = _mean([fold.train_scores.get(metric) for fold, *_ in known])
    least = _LEAST_BEHIND * (1.0 if None not in results.ranges.get(metric, ()) else abs(reached))
    return BehindProbe(
        probe=reached,
        run=float(np.mean([own for _, own, _ in known])),
        train=train,
        behind=mean,
        error=error,
        num_folds=len(known),
        lacks=mean > max(error, least) and (train is None or sign * (reached - train) > 0),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def final_fall(histories: Mapping[str, History], num_folds: float) -> FinalFall | None:
    """How fast the training loss still falls over the last third of the epochs.

    Args:
        histories: Epochs of each fold, with `train_loss`.
        num_folds: Folds of one repeat, k.

    Returns:
        None where fewer than two folds have two epochs.
    """
    curves = [[epoch.train_loss for epoch in epochs] for epochs in histories.values()]
    known = [np.asarray(curve, float) for curve in curves if len(curve) > 1 and None not in curve]
    if len(known) < 2 or any(curve[0] <= 0 for curve in known):
        return None
    falls = [_fall(curve) for curve in known]
    found, mean = corrected(falls, num_folds), float(np.mean(falls))
    interval = found.interval if found else (mean, mean)  # equal in every fold
    return FinalFall(
        first=float(np.mean([curve[0] for curve in known])),
        last=float(np.mean([curve[-1] for curve in known])),
        fall=mean,
        interval=interval,
        taken=float(np.mean([1 - curve[-1] / curve[0] for curve in known])),
        num_folds=len(known),
        falls=interval[0] > 0 and mean >= _LEAST_FALL,
    )


def _fall(curve: Any) -> float:
    """Fall of a loss in one epoch at the end, as a share of its first value."""
    last = curve[-max(2, -(-len(curve) // 3)) :]
    return float(-np.polyfit(np.arange(len(last)), last, 1)[0] / curve[0])


def _inner_fall(
    results: Results, histories: Mapping[str, History], overfitting: Overfitting
) -> InnerFall | None:
    """Whether the loss on inner splits is still falling at the last epoch, where it is lowest."""
    turn, epochs = overfitting.turn, results.config.num_epochs
    if not turn:
        return None
    curves = [[epoch.inner_loss for epoch in history] for history in histories.values()]
    whole = [np.asarray(one, float) for one in curves if len(one) == epochs > 1 and None not in one]
    steps = [float(curve[-2] - curve[-1]) for curve in whole]
    fall = float(np.mean(steps)) if steps else None
    error = corrected_error(steps, folds_of(results.folds)) if len(steps) > 1 else None
    falls = fall is not None and error is not None and fall > error
    return InnerFall(turn.epoch, fall, error, falls and turn.epoch == epochs)
