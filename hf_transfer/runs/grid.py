"""Compare the configurations of a grid with the best, and correct the best score for the choice. No torch."""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from hf_transfer import _guard  # noqa: F401
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.scores.over_folds import sampling_units
from hf_transfer.scores.scorer import Floats, Scorer
from hf_transfer.scores.statistics import (
    best_of,
    corrected_error,
    corrected_resampled_t,
    effective_folds,
    holm,
)
from hf_transfer.scores.statistics.comparison import SAME

FoldResults = Sequence[FoldResult]

_ROW = ["repeat", "fold", "row_id"]


def against_best(found: Sequence[FoldResults], best: int, scorer: Scorer) -> list[dict[str, float | None]]:
    """Test each configuration against the best, by the primary metric on their shared folds.

    Args:
        found: Results of each configuration, its folds in the same order.
        best: Which of them is reported.
        scorer: The task's scorer.

    Returns:
        For each configuration, `behind`: the mean of how much better the best was; `p`: of the corrected
        resampled t-test, with two sides; `p_holm`: adjusted for the number of these tests. None for the
        best itself, and where the test cannot be made.
    """
    tests = [(None, None) if i == best else _behind(one, found[best], scorer) for i, one in enumerate(found)]
    adjusted = holm([np.nan if p is None else p for _, p in tests])
    return [
        {"behind": behind, "p": p, "p_holm": None if p is None else float(corrected)}
        for (behind, p), corrected in zip(tests, adjusted, strict=True)
    ]


def _behind(one: FoldResults, best: FoldResults, scorer: Scorer) -> tuple[float | None, float | None]:
    metric = scorer.primary_metric
    sign = 1 if scorer.higher_is_better[metric] else -1
    pairs = [
        (a, b)
        for a, b in zip(one, best, strict=True)
        if a.scores.get(metric) is not None and b.scores.get(metric) is not None
    ]
    differences = [sign * (b.scores[metric] - a.scores[metric]) for a, b in pairs]  # type: ignore[operator]
    if not differences:
        return None, None
    mean = float(np.mean(differences))
    if len(differences) < 2:
        return mean, None
    num_folds = effective_folds([(b.num_train, b.num_valid) for _, b in pairs])
    if corrected_error(differences, num_folds) == 0:
        return mean, 1.0 if abs(mean) <= SAME else None
    return mean, corrected_resampled_t(differences, num_folds).p


def corrected_best(
    tables: Iterable[pa.Table], scorer: Scorer, mean: float | None, *, seed: int
) -> float | None:
    """Primary metric of the best configuration, corrected for having been chosen by it; never above `mean`.

    By how much choosing flatters is found on pooled rows, where the highest score is held against what the
    chosen ones reach on rows that did not choose; that is taken off the mean over folds.

    Args:
        tables: Out-of-fold predictions of each configuration, the best one's first. Those of other
            rows, as where other folds failed, are left out.
        scorer: The task's scorer.
        mean: Of the best one, over folds.
        seed: Seed of the draws.

    Returns:
        The corrected score, see `statistics.best_of`; None where fewer than two are left or it is undefined.
    """
    metric, rest = scorer.primary_metric, map(_ordered, tables)
    first = next(rest)
    rows = first.select(_ROW)
    resamplers = [scorer.resampler(first, [metric])]
    resamplers += [scorer.resampler(table, [metric]) for table in rest if table.select(_ROW).equals(rows)]
    if len(resamplers) < 2:
        return None
    sign = 1 if scorer.higher_is_better[metric] else -1

    def merits(weights: Floats) -> Floats:
        return sign * np.stack([resample(weights)[metric] for resample in resamplers])

    found = best_of(merits, first["fold"], units=sampling_units(first, scorer)[1], seed=seed)
    if found is None or mean is None:
        return None
    highest = float(np.nanmax(merits(np.ones((1, first.num_rows)))))
    return mean - sign * max(0.0, highest - found)


def _ordered(table: pa.Table) -> pa.Table:
    return table.sort_by([(name, "ascending") for name in _ROW])
