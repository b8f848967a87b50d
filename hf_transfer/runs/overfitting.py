"""Does a run overfit? Judged by its folds, its epochs, and runs that froze more. No torch.

A gap between training and held-out rows alone is no overfitting: networks that fit every training
row can still be the best there are. It is called so only when more training makes unseen rows worse,
or has made them worse than no model, or when freezing more makes them better.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.runs.findings import AboveChance, Gap, Interval, MoreFrozen, Overfitting, Turn
from hf_transfer.runs.fold_result import Epoch, FoldResult
from hf_transfer.runs.paired import corrected, folds_of, paired_scores
from hf_transfer.scores.statistics import corrected_error

if TYPE_CHECKING:
    from hf_transfer.runs.records import Results

Floats = NDArray[np.float64]
History = Sequence[Epoch]
Finding = Literal["overfits", "stopped in time", "gap", "no sign", "unknown"]


_LARGE = 0.1  # of the range of a score, or of itself where it has none


class Rival(NamedTuple):
    """Another configuration on the same folds: name, trained parameters, fold records."""

    name: str
    parameters: int
    folds: Sequence[FoldResult]


def diagnose(
    results: "Results", histories: Mapping[str, History], rivals: Sequence[Rival] = ()
) -> Overfitting:
    """Look for overfitting in a run.

    Args:
        results: What results.json holds. Entries of `grid` that have `trainable` are rivals too.
        histories: Epochs of each fold, by the fold's name such as `r0f3`.
        rivals: Other runs on the same folds, scored by the same metric.

    Returns:
        The verdict, and what it follows from: gaps by metric, training minus held-out rows; the turn of
        the loss on inner splits; a log loss above that of no model; a rival that froze more and still won.
    """
    metric = results.primary_metric
    names = [name for name in dict.fromkeys([metric, "log_loss"]) if name in results.scores]
    gaps = {name: gap for name in names if (gap := _gap(results, name))}
    turn = inner_turn(histories, folds_of(results.folds))
    above, winner = _above_chance(results), _more_frozen(results, [*_grid_rivals(results), *rivals])
    return Overfitting(
        verdict="overfits" if above or winner else _verdict(results, gaps, turn),
        metric=metric,
        gaps=gaps,
        turn=turn,
        above_chance=above,
        more_frozen=winner,
    )


def inner_turn(histories: Mapping[str, History], num_folds: float) -> Turn | None:
    """How far the loss on inner splits has risen from its minimum to the last epoch.

    Each fold's lowest point is where the mean of the *other* folds' losses is lowest. A fold's own
    lowest point would be picked by its noise, and every noisy curve ends above it.

    Args:
        histories: Epochs of each fold, with `inner_loss` and `train_loss`.
        num_folds: Folds of one repeat, k.

    Returns:
        None where fewer than two folds have an inner loss.
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
    found = corrected(rises, num_folds)
    interval = found.interval if found else None
    return Turn(
        epoch=_lowest(curves) + 1,
        rise=float(np.mean(rises)),
        interval=interval,
        train_fall=fall,
        num_folds=len(curves),
        turned=interval is not None and interval[0] > 0 and fall > 0,
    )


def _verdict(results: "Results", gaps: Mapping[str, Gap], turn: Turn | None) -> Finding:
    if turn and turn.turned:
        # Early stopping put back the weights of each fold's best epoch.
        return "stopped in time" if results.config.early_stopping else "overfits"
    known = {name: gap.interval for name, gap in gaps.items() if gap.interval}
    if any(_sign(results, name) * _nearer(ends, results, name) > 0 for name, ends in known.items()):
        return "gap"
    return "no sign" if known and not _large(results, gaps) else "unknown"


def _large(results: "Results", gaps: Mapping[str, Gap]) -> bool:
    """Whether the gap of the primary metric is too large to be called none, though folds can't show it."""
    gap, name = gaps.get(results.primary_metric), results.primary_metric
    if gap is None:
        return False
    low, high = results.ranges.get(name) or (None, None)
    span = high - low if low is not None and high is not None else abs(gap.valid)
    return _sign(results, name) * gap.mean > _LARGE * span


def _nearer(interval: Interval, results: "Results", name: str) -> float:
    """The end of an interval that is nearer to no gap."""
    return interval[0] if _sign(results, name) > 0 else interval[1]


def _sign(results: "Results", name: str) -> int:
    return 1 if results.higher_is_better.get(name, True) else -1


def _gap(results: "Results", metric: str) -> Gap | None:
    """Difference of a score between training and held-out rows; None if one is unknown."""
    pairs = [(fold.train_scores.get(metric), fold.scores.get(metric)) for fold in results.done]
    known = [(train, valid) for train, valid in pairs if train is not None and valid is not None]
    if not known:
        return None
    differences = [train - valid for train, valid in known]
    found = corrected(differences, folds_of(results.folds))
    train, valid = (float(column) for column in np.mean(known, axis=0))
    return Gap(
        train=train,
        valid=valid,
        mean=float(np.mean(differences)),
        interval=found.interval if found else None,
        p=found.p if found else None,
        num_folds=len(known),
    )


def _above_chance(results: "Results") -> AboveChance | None:
    """Whether the held-out log loss exceeds that of a constant answer, while the training loss does not.

    Training starts near that constant answer, so the loss on held-out rows has risen since.
    """
    counts = np.asarray(list(results.dataset.class_counts.values()), dtype=np.float64)
    if "log_loss" not in results.scores or not counts.sum():
        return None
    shares = counts[counts > 0] / counts.sum()
    chance = float(-(shares * np.log(shares)).sum())
    losses = [(fold.train_scores.get("log_loss"), fold.scores.get("log_loss")) for fold in results.done]
    known = [(train, valid) for train, valid in losses if train is not None and valid is not None]
    found = corrected([valid - chance for _, valid in known], folds_of(results.folds))
    if not found or found.interval[0] <= 0 or np.mean([train for train, _ in known]) >= chance:
        return None
    return AboveChance(chance, found.mean, found.interval)


def _curves(epochs: History) -> Floats:
    """Inner and training loss of each epoch, (epochs, 2); empty if one is missing."""
    pairs = [(epoch.inner_loss, epoch.train_loss) for epoch in epochs]
    whole = all(value is not None for pair in pairs for value in pair)
    return np.asarray(pairs if whole else [], dtype=np.float64).reshape(-1, 2)


def _lowest(curves: Sequence[Floats]) -> int:
    """Epoch, from 0, of the lowest mean inner loss, among epochs that half of the folds reached."""
    length = int(np.median([len(curve) for curve in curves]))
    means = [np.mean([curve[epoch, 0] for curve in curves if len(curve) > epoch]) for epoch in range(length)]
    return int(np.argmin(means))


def _grid_rivals(results: "Results") -> list[Rival]:
    """Configurations of the grid that report how many parameters they trained."""
    return [
        Rival(f"trainable={entry.settings['trainable']}", entry.parameters, entry.folds)
        for entry in results.grid or []
        if entry.parameters and not entry.best
    ]


def _more_frozen(results: "Results", rivals: Sequence[Rival]) -> MoreFrozen | None:
    """The rival with fewer trained parameters that is ahead by most, and by over one corrected error."""
    metric = results.primary_metric
    found: list[MoreFrozen] = []
    for rival in rivals:
        pairs = paired_scores(results.folds, rival.folds, metric)
        if rival.parameters >= results.trainable.parameters or len(pairs) < 2:
            continue
        ahead = [_sign(results, metric) * (theirs - ours) for ours, theirs in pairs.values()]
        error = corrected_error(ahead, folds_of(results.folds))
        if (mean := float(np.mean(ahead))) > error:
            found.append(MoreFrozen(rival.name, mean, error))
    return max(found, key=lambda one: one.ahead, default=None)
