"""Whether other rows in training help: their part of results.json, and a line of it. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import special

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.secrets import local_name
from hf_transfer.machine.wording import count, interval, number, probability
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.paired import LEVEL, adjusted, pair_folds
from hf_transfer.runs.records import AddedSource
from hf_transfer.runs.same_rows import in_order, with_rows
from hf_transfer.scores.findings import ClassChange, GroupChanges
from hf_transfer.scores.over_folds import over_folds
from hf_transfer.scores.statistics import holm
from hf_transfer.tasks.targets.target import Target

ARMS = ("the run's rows alone", "with the added rows")

Rows = NDArray[np.bool_]
FoldsScored = tuple[Sequence[FoldResult], pa.Table]


@dataclass(frozen=True)
class Source:
    """Other rows: where they come from, how many were added, the folder of the predictions, and whose."""

    name: str
    fingerprint: str
    num_rows: int
    num_dropped: int
    folder: str
    trained: bool = False


def added_part(
    alone: FoldsScored, tested: Sequence[tuple[Source, FoldsScored]], target: Target, *, seed: int
) -> list[AddedSource]:
    """Build the `added_sources` part of results.json; p-values are adjusted over all sources.

    Args:
        alone: What heads, or models, on the run's rows alone scored, and their held-out predictions.
        tested: Each source, with the same of those that learned from its rows too.
        target: What the labels are.
        seed: The run's.
    """
    scorer, before = target.scorer, in_order(alone[1])
    metric = scorer.primary_metric
    better = scorer.higher_is_better[metric]
    pairs = [
        with_rows(
            pair_folds((ARMS[0], alone[0]), (ARMS[1], folds), metric, higher_is_better=better),
            before,
            in_order(table),
            target,
            seed=seed,
        )
        for _, (folds, table) in tested
    ]
    return [
        AddedSource(
            **vars(source),
            alone=_mean(alone[0], metric),
            added=_mean(folds, metric),
            pair=pair,
            classes=class_changes(before, in_order(table), target),
            groups=group_changes(before, in_order(table), target),
        )
        for pair, (source, (folds, table)) in zip(adjusted(pairs), tested, strict=True)
    ]


def _mean(folds: Sequence[FoldResult], metric: str) -> float | None:
    return over_folds([fold.scores.get(metric) for fold in folds]).mean


def class_changes(before: pa.Table, after: pa.Table, target: Target) -> list[ClassChange]:
    """How each class changes, by the same rows in the same order; none where rows are not right or wrong."""
    if not target.right_or_wrong:
        return []
    right = _right(before, after, target)
    names, counts = target.tabled(target.read_back(before))
    of_class = {name: has for name, has in zip(names, counts.T > 0, strict=True) if has.any()}
    won, lost = ([int((has & some).sum()) for has in of_class.values()] for some in _differing(right))
    return [
        ClassChange(
            label=name,
            rows=int(has.sum()),
            alone=float(right[0][has].mean()),
            added=float(right[1][has].mean()),
            p_loses=p,
        )
        for (name, has), p in zip(of_class.items(), _chances(lost, won), strict=True)
    ]


def group_changes(before: pa.Table, after: pa.Table, target: Target) -> GroupChanges | None:
    """How many groups lose, by the same rows in the same order; None without groups of several rows."""
    if not target.right_or_wrong or "unit" not in before.column_names:
        return None
    units, of_row = np.unique(before["unit"].to_numpy(), return_inverse=True)
    if len(units) == len(of_row):
        return None
    right = _right(before, after, target)
    won, lost = (np.bincount(of_row[some], minlength=len(units)) for some in _differing(right))
    losing = lost > won
    sure = losing & (np.asarray(_chances(lost.tolist(), won.tolist())) < LEVEL)
    return GroupChanges(num_groups=len(units), num_losing=int(losing.sum()), num_sure=int(sure.sum()))


def _right(before: pa.Table, after: pa.Table, target: Target) -> list[Rows]:
    """Which rows are right without the added ones, and with them."""
    return [np.equal(*found) for table in (before, after) if (found := target.compared(table))]


def _differing(right: Sequence[Rows]) -> tuple[Rows, Rows]:
    """Rows that are won by the added ones, and rows that are lost."""
    return ~right[0] & right[1], right[0] & ~right[1]


def _chances(lost: Sequence[int], won: Sequence[int]) -> list[float]:
    """That as many of the rows on which the two differ are lost, if either is as likely; by Holm's rule."""
    pairs = zip(lost, won, strict=True)
    found = holm([float(special.bdtrc(a - 1, a + b, 0.5)) if a else 1.0 for a, b in pairs])
    return [float(p) for p in found]


def added_words(found: AddedSource) -> str:
    """What the added rows do, in a line."""
    pair = found.pair
    tested = f" ({interval(pair.interval)}, p {probability(pair.p_adjusted)})" if pair.interval else ""
    change = "" if pair.mean is None else f", {pair.mean:+.3f}{tested}"
    return (
        f"{count(found.num_rows, 'row')} of {local_name(found.name)}: {found.verdict}; {pair.metric} "
        f"{number(found.alone)} without, {number(found.added)} with them{change}."
    )


def losing_words(found: AddedSource) -> str:
    """Which classes lose, how many groups, and which by more than chance."""
    return " ".join(filter(None, (_losing_classes(found), _losing_groups(found.groups))))


def _losing_groups(groups: GroupChanges | None) -> str:
    if groups is None:
        return ""
    share = f"{groups.num_losing} of {count(groups.num_groups, 'group')} lose"
    return f"{share}, {groups.num_sure} of them beyond chance." if groups.num_losing else f"{share}."


def _losing_classes(found: AddedSource) -> str:
    if not found.classes:
        return ""
    losing = sorted(found.losing, key=lambda one: one.added - one.alone)
    named = ", ".join(f"{one.label!r} ({one.added - one.alone:+.3f})" for one in losing[:6])
    sure = [repr(one.label) for one in losing if one.p_loses < LEVEL]
    told = f": {named}{', and more' if len(losing) > 6 else ''}" if losing else ""
    beyond = f"Beyond chance: {', '.join(sure)}." if sure else "None of them by more than chance."
    share = f"{len(losing)} of {len(found.classes)} classes lose{told}."
    return f"{share} {beyond}" if losing else share
