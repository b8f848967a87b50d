"""Fit cut points to out-of-fold predictions, and score them on rows they were not fitted to. No torch."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from hf_transfer import _guard  # noqa: F401
from hf_transfer.scores.cutting import Cut, Cutting
from hf_transfer.scores.over_folds import Cuts, CutScore, over_folds, score_folds
from hf_transfer.scores.scorer import Scorer, Scores, array_of

FEWEST_FOLDS = 3  # so that the folds other than one can be cut by each other


def find_cuts(table: pa.Table, scorer: Scorer) -> Cuts | None:
    """Fit cut points to pooled out-of-fold predictions, and measure them with those of other folds.

    No row is scored by a cut point that it took part in, nor by the decision whether to move one: that is
    made anew within the other folds.

    Args:
        table: Out-of-fold predictions.
        scorer: The task's.

    Returns:
        None where nothing is cut, and for fewer than three folds.
    """
    cutting = scorer.cutting
    if cutting is None or not table.num_rows or _fewest_folds(table) < FEWEST_FOLDS:
        return None
    before, crossed = (
        score_folds(table, scorer),
        _crossed(table, cutting, lambda rows: helpful(rows, cutting)),
    )
    after, points = score_folds(crossed, scorer), helpful(table, cutting)
    return Cuts(
        points=points,
        moved=sum(one != plain for one, plain in zip(points, cutting.plain(table), strict=True)),
        scores={
            name: CutScore(
                *(over_folds([fold[name] for fold in folds.values()]) for folds in (before, after))
            )
            for name in cutting.metrics
        },
    )


def cut_scores(table: pa.Table, scorer: Scorer, points: Sequence[Cut]) -> Scores | None:
    """The scores that cut points change, with given ones, on rows that had no part in them; None without."""
    cutting = scorer.cutting
    if cutting is None or not points:
        return None
    scores = scorer.score(cutting.decide(table, points))
    return {name: scores[name] for name in cutting.metrics}


def helpful(table: pa.Table, cutting: Cutting) -> list[Cut]:
    """The cut points of some folds: fitted ones where those of other folds were better, else plain ones."""
    before, after = cutting.merits(table), cutting.merits(_crossed(table, cutting, cutting.fit))
    pairs = list(zip(cutting.plain(table), cutting.fit(table), strict=True))
    better = np.broadcast_to(after > before, len(pairs))
    return [fitted if helps else plain for (plain, fitted), helps in zip(pairs, better, strict=True)]


def _crossed(table: pa.Table, cutting: Cutting, fit: Callable[[pa.Table], list[Cut]]) -> pa.Table:
    """Each fold's predictions, decided by what the other folds of its repeat were fitted to."""
    repeats, folds = array_of(table, "repeat"), array_of(table, "fold")
    parts = []
    for repeat, fold in sorted(set(zip(repeats.tolist(), folds.tolist(), strict=True))):
        others = table.filter(pa.array((repeats == repeat) & (folds != fold)))
        own = table.filter(pa.array((repeats == repeat) & (folds == fold)))
        parts.append(cutting.decide(own, fit(others)))
    return pa.concat_tables(parts)


def _fewest_folds(table: pa.Table) -> int:
    repeats, folds = array_of(table, "repeat"), array_of(table, "fold")
    return min(len(np.unique(folds[repeats == repeat])) for repeat in np.unique(repeats))
