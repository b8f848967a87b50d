"""Data in which there is nothing to learn: a score that is clearly above chance is a leak."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter
from simulation import Floats, Held, Ints, Learner, cross_validate, nearest, ridge

from hf_transfer.folds import FoldColumns
from hf_transfer.scores.statistics import bootstrap_interval, corrected_resampled_t

CHANCE = 0.5
NUM_FOLDS = 5
GROUPS, ROWS_A_GROUP = 40, 5
MEMORY = 0.95  # share that a value in time keeps of the one before
GAP = 20


@dataclass(frozen=True)
class Null:
    """Features, labels that have nothing to do with them, and what ties rows together."""

    features: Floats
    labels: Ints
    columns: FoldColumns
    units: Ints


def shuffled(rng: np.random.Generator) -> Null:
    """200 rows, half of each class, in random order."""
    labels = rng.permutation(np.arange(200) % 2)
    return Null(rng.normal(size=(200, 20)), labels, FoldColumns(labels=labels), np.arange(200))


def grouped(rng: np.random.Generator) -> Null:
    """40 groups of 5 rows that lie close together and have one label."""
    groups = np.repeat(np.arange(GROUPS), ROWS_A_GROUP)
    centres = rng.normal(size=(GROUPS, 10))
    features = centres[groups] + 0.1 * rng.normal(size=(len(groups), 10))
    labels = rng.permutation(np.arange(GROUPS) % 2)[groups]
    return Null(features, labels, FoldColumns(labels=labels, groups=groups), groups)


def in_time(rng: np.random.Generator) -> Null:
    """400 rows whose features, and whose labels, resemble those just before."""
    walks = lfilter([1], [1, -MEMORY], rng.normal(size=(500, 6)), axis=0)[100:]
    labels = (walks[:, 0] > np.median(walks[:, 0])).astype(np.int64)
    columns = FoldColumns(labels=labels, times=np.arange(400), gap=GAP)
    return Null(walks[:, 1:], labels, columns, np.arange(400))


@dataclass(frozen=True)
class Audit:
    """One kind of null data under one scheme of folds."""

    name: str
    draw: Callable[[np.random.Generator], Null]
    learner: Learner
    scheme: str
    num_repeats: int = 3
    tied: bool = False  # whether the rows that belong together are drawn together


def audits() -> list[Audit]:
    """Each problem under the folds it needs, and under those that most people use."""
    return [
        Audit("shuffled labels", shuffled, ridge, "stratified"),
        Audit("labels of groups", grouped, nearest, "group", tied=True),
        Audit("labels of groups", grouped, nearest, "stratified-group", tied=True),
        Audit("labels of groups", grouped, nearest, "random"),
        Audit("labels in time", in_time, nearest, "time", num_repeats=1),
        Audit("labels in time", in_time, nearest, "random"),
    ]


def run_audit(audit: Audit, num_draws: int) -> tuple[float, dict[str, int | None]]:
    """Give the mean accuracy, and how often chance was inside each interval."""
    means, inside = [], {"bootstrap": 0, "corrected": 0, "corrected, three repeats": 0}
    for seed in range(num_draws):
        null = audit.draw(np.random.default_rng(seed))
        held = list(_folds(audit, null))
        means.append(np.mean([one.right.mean() for one in held]))
        for name, interval in _intervals(audit, null, held).items():
            inside[name] += interval[0] <= CHANCE <= interval[1]
    counted: dict[str, int | None] = dict(inside)
    if audit.num_repeats == 1:
        counted["corrected, three repeats"] = None
    return float(np.mean(means)), counted


def _folds(audit: Audit, null: Null) -> list[Held]:
    columns = null.columns if audit.scheme != "random" else FoldColumns()
    data = (null.features, null.labels)
    kind = {"num_folds": NUM_FOLDS, "num_repeats": audit.num_repeats, "scheme": audit.scheme}
    return list(cross_validate(data, audit.learner, columns, **kind))


def _intervals(audit: Audit, null: Null, held: list[Held]) -> dict[str, tuple[float, float]]:
    first = [one for one in held if one.repeat == 0]
    right, folds = np.empty(len(null.labels)), np.empty(len(null.labels))
    for one in first:
        right[one.rows], folds[one.rows] = one.right, one.fold
    drawn = bootstrap_interval(
        lambda weights: {"accuracy": weights @ right / weights.sum(axis=1)},
        folds, units=null.units if audit.tied else None, seed=0,
    )["accuracy"]  # fmt: skip
    found = {"bootstrap": drawn or (0.0, 1.0)}
    for name, some in (("corrected", first), ("corrected, three repeats", held)):
        scores = [float(one.right.mean()) for one in some]
        alike = min(scores) == max(scores)  # every row was right, and no spread is left to go by
        found[name] = (
            (min(scores), max(scores)) if alike else corrected_resampled_t(scores, NUM_FOLDS).interval
        )
    return found
