"""What two models on the same held-out rows differ by, row by row, beside the test over folds. No torch."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from hf_transfer import _guard  # noqa: F401
from hf_transfer.runs.paired import Pair, PairedBootstrap, RightRows
from hf_transfer.scores.over_folds import sampling_units
from hf_transfer.scores.statistics import bootstrap_interval, mcnemar

if TYPE_CHECKING:
    from hf_transfer.scores.scorer import Floats
    from hf_transfer.tasks.targets.target import Target

KEYS = ("repeat", "fold", "row_id")


def with_rows(pair: Pair, first: pa.Table, second: pa.Table, target: "Target", *, seed: int) -> Pair:
    """Add to a pair what its single rows say: McNemar's test for classes, else a paired bootstrap.

    Args:
        pair: The two, tested over folds.
        first: Held-out predictions of the first, ordered by repeat, fold and row.
        second: Those of the second.
        target: What the labels are.
        seed: Of the bootstrap.
    """
    if not pair.differences:
        return pair
    tables = _shared_rows(first, second)
    if target.right_or_wrong:
        return replace(pair, rows=_right_rows(target, *tables))
    return replace(pair, bootstrap=_paired_bootstrap(target, pair.metric, tables, seed))


def in_order(table: pa.Table) -> pa.Table:
    """Predictions ordered by repeat, fold and row."""
    return table.sort_by([(name, "ascending") for name in KEYS])


def _shared_rows(first: pa.Table, second: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Rows that both predicted: those of the folds that both finished."""
    keys = [list(zip(*(table[name].to_pylist() for name in KEYS), strict=True)) for table in (first, second)]
    shared = set(keys[0]).intersection(keys[1])
    return first.filter([key in shared for key in keys[0]]), second.filter([key in shared for key in keys[1]])


def _right_rows(target: "Target", first: pa.Table, second: pa.Table) -> RightRows:
    """Count rows that only one got right, in the first repeat."""
    repeat = min(first["repeat"].to_pylist())
    kept = [table.filter(table["repeat"].to_numpy() == repeat) for table in (first, second)]
    right = [np.equal(*compared) for table in kept if (compared := target.compared(table))]
    return RightRows(**mcnemar(*right)._asdict(), repeat=repeat, num_rows=kept[0].num_rows)


def _paired_bootstrap(
    target: "Target", metric: str, tables: Sequence[pa.Table], seed: int
) -> PairedBootstrap:
    """Bootstrap interval of the difference of pooled scores, from the same resamples for both."""
    scorer = target.scorer
    score_first, score_second = (scorer.resampler(table, [metric]) for table in tables)

    def difference(weights: "Floats") -> "dict[str, Floats]":
        return {metric: score_second(weights)[metric] - score_first(weights)[metric]}

    unit, units = sampling_units(tables[0], scorer)
    folds = tables[0]["fold"].to_numpy()
    intervals = bootstrap_interval(difference, folds, units=units, seed=seed)
    pooled = [scorer.pooled(table)[metric] for table in tables]
    known = None if None in pooled else pooled[1] - pooled[0]  # type: ignore[operator]
    return PairedBootstrap(known, intervals[metric], unit)
