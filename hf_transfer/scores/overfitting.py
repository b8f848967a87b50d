"""Does a run overfit? Judged by its folds, its epochs, and runs that froze more. No torch.

A gap between training and held-out rows alone is no overfitting: networks that fit every training
row can still be the best there are. It is called so only when more training makes unseen rows worse,
or has made them worse than no model, or when freezing more makes them better.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.scores.paired import corrected, folds_of, paired_scores
from hf_transfer.scores.statistics.comparison import corrected_error

Floats = NDArray[np.float64]
Fold = Mapping[str, Any]
History = Sequence[Mapping[str, Any]]
Finding = Literal["overfits", "stopped in time", "gap", "no sign", "unknown"]


class Rival(NamedTuple):
    """Another configuration on the same folds: name, trained parameters, fold records."""

    name: str
    parameters: int
    folds: Sequence[Fold]


def diagnose(
    results: Mapping[str, Any], histories: Mapping[str, History], rivals: Sequence[Rival] = ()
) -> dict[str, Any]:
    """Look for overfitting; returns plain values for results.json.

    Args:
        results: What results.json holds. Entries of `grid` that have `trainable` are rivals too.
        histories: Epochs of each fold, by the fold's name such as `r0f3`.
        rivals: Other runs on the same folds, scored by the same metric.

    Returns:
        `verdict`, `metric`, `gaps` (by metric, training minus held-out rows: both means, their
        difference, its corrected interval and p), `turn` (of the loss on inner splits, see
        `inner_turn`), `above_chance` (how far the held-out log loss is above that of the shares of
        the classes, or None) and `more_frozen` (a rival that froze more and still won, or None).
    """
    metric = results["primary_metric"]
    names = [name for name in dict.fromkeys([metric, "log_loss"]) if name in results["scores"]]
    gaps = {name: gap for name in names if (gap := _gap(results, name))}
    turn = inner_turn(histories, folds_of(results["folds"]))
    above, winner = _above_chance(results), _more_frozen(results, [*_grid_rivals(results), *rivals])
    return {
        "verdict": "overfits" if above or winner else _verdict(results, gaps, turn),
        "metric": metric,
        "gaps": gaps,
        "turn": turn,
        "above_chance": above,
        "more_frozen": winner,
    }


def inner_turn(histories: Mapping[str, History], num_folds: float) -> dict[str, Any] | None:
    """How far the loss on inner splits has risen from its minimum to the last epoch.

    Each fold's lowest point is where the mean of the *other* folds' losses is lowest. A fold's own
    lowest point would be picked by its noise, and every noisy curve ends above it.

    Args:
        histories: Epochs of each fold, with `inner_loss` and `train_loss`.
        num_folds: Folds of one repeat, k.

    Returns:
        `epoch` of the lowest mean loss, the mean `rise` with its corrected `interval`, the mean
        `train_fall` over the same epochs, and `turned`: whether the rise is more than noise while
        the training loss fell. None where fewer than two folds have an inner loss.
    """
    curves = [curve for epochs in histories.values() if len(curve := _curves(epochs)) > 1]
    if len(curves) < 2:
        return None
    lowest = [
        min(_lowest([other for other in curves if other is not curve]), len(curve) - 1) for curve in curves
    ]
    pairs = list(zip(curves, lowest, strict=True))
    rises = [float(curve[-1, 0] - curve[low, 0]) for curve, low in pairs]
    fall = float(np.mean([curve[low, 1] - curve[-1, 1] for curve, low in pairs]))
    test = corrected(rises, num_folds)
    interval = list(test.interval) if test else None
    return {
        "epoch": _lowest(curves) + 1,
        "rise": float(np.mean(rises)),
        "interval": interval,
        "train_fall": fall,
        "num_folds": len(curves),
        "turned": interval is not None and interval[0] > 0 and fall > 0,
    }


def _verdict(
    results: Mapping[str, Any],
    gaps: Mapping[str, Mapping[str, Any]],
    turn: Mapping[str, Any] | None,
) -> Finding:
    if turn and turn["turned"]:
        # Early stopping put back the weights of each fold's best epoch.
        return "stopped in time" if results["config"]["early_stopping"] else "overfits"
    known = {name: gap for name, gap in gaps.items() if gap["interval"]}
    if any(_sign(results, name) * _nearer(gap["interval"], results, name) > 0 for name, gap in known.items()):
        return "gap"
    return "no sign" if known else "unknown"


def _nearer(interval: Sequence[float], results: Mapping[str, Any], name: str) -> float:
    """The end of an interval that is nearer to no gap."""
    return interval[0] if _sign(results, name) > 0 else interval[1]


def _sign(results: Mapping[str, Any], name: str) -> int:
    return 1 if results["higher_is_better"].get(name, True) else -1


def _gap(results: Mapping[str, Any], metric: str) -> dict[str, Any] | None:
    """Difference of a score between training and held-out rows; None if one is unknown."""
    done = [fold for fold in results["folds"] if fold["status"] == "done"]
    pairs = [(fold["train_scores"].get(metric), fold["scores"].get(metric)) for fold in done]
    known = [(train, valid) for train, valid in pairs if train is not None and valid is not None]
    if not known:
        return None
    differences = [train - valid for train, valid in known]
    test = corrected(differences, folds_of(results["folds"]))
    train, valid = (float(column) for column in np.mean(known, axis=0))
    return {
        "train": train,
        "valid": valid,
        "mean": float(np.mean(differences)),
        "interval": list(test.interval) if test else None,
        "p": test.p if test else None,
        "num_folds": len(known),
    }


def _above_chance(results: Mapping[str, Any]) -> dict[str, Any] | None:
    """Whether the held-out log loss exceeds that of a constant answer, while the training loss does not.

    Training starts near that constant answer, so the loss on held-out rows has risen since.
    """
    counts = np.asarray(list(results["dataset"]["class_counts"].values()), dtype=np.float64)
    if "log_loss" not in results["scores"] or not counts.sum():
        return None
    shares = counts[counts > 0] / counts.sum()
    chance = float(-(shares * np.log(shares)).sum())
    done = [fold for fold in results["folds"] if fold["status"] == "done"]
    losses = [(fold["train_scores"].get("log_loss"), fold["scores"].get("log_loss")) for fold in done]
    known = [(train, valid) for train, valid in losses if train is not None and valid is not None]
    test = corrected([valid - chance for _, valid in known], folds_of(results["folds"]))
    if not test or test.interval[0] <= 0 or np.mean([train for train, _ in known]) >= chance:
        return None
    return {"chance": chance, "mean": test.mean, "interval": list(test.interval)}


def _curves(epochs: History) -> Floats:
    """Inner and training loss of each epoch, (epochs, 2); empty if one is missing."""
    pairs = [(epoch.get("inner_loss"), epoch.get("train_loss")) for epoch in epochs]
    whole = all(value is not None for pair in pairs for value in pair)
    return np.asarray(pairs if whole else [], dtype=np.float64).reshape(-1, 2)


def _lowest(curves: Sequence[Floats]) -> int:
    """Epoch, from 0, of the lowest mean inner loss, among epochs that half of the folds reached."""
    length = int(np.median([len(curve) for curve in curves]))
    means = [np.mean([curve[epoch, 0] for curve in curves if len(curve) > epoch]) for epoch in range(length)]
    return int(np.argmin(means))


def _grid_rivals(results: Mapping[str, Any]) -> list[Rival]:
    """Configurations of the grid that report how many parameters they trained."""
    return [
        Rival(f"trainable={entry['trainable']}", entry["parameters"], entry["folds"])
        for entry in results["grid"] or []
        if entry.get("parameters") and not entry["best"]
    ]


def _more_frozen(results: Mapping[str, Any], rivals: Sequence[Rival]) -> dict[str, Any] | None:
    """The rival with fewer trained parameters that is ahead by most, and by over one corrected error."""
    metric = results["primary_metric"]
    found: list[tuple[float, dict[str, Any]]] = []
    for rival in rivals:
        pairs = paired_scores(results["folds"], rival.folds, metric)
        if rival.parameters >= results["trainable"]["parameters"] or len(pairs) < 2:
            continue
        ahead = [_sign(results, metric) * (theirs - ours) for ours, theirs in pairs.values()]
        error = corrected_error(ahead, folds_of(results["folds"]))
        if (mean := float(np.mean(ahead))) > error:
            found.append((mean, {"name": rival.name, "ahead": mean, "error": error}))
    return max(found, key=lambda entry: entry[0])[1] if found else None


def commonest_share(results: Mapping[str, Any]) -> float | None:
    """Accuracy of always predicting the most common class; None if rows have no single class."""
    counts = results["dataset"]["class_counts"].values()
    return max(counts) / sum(counts) if results["confusion"] is not None and sum(counts) else None
