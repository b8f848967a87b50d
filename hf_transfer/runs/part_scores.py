"""Each part of an input alone: its part of results.json, and how to say it. No torch."""

import math
import warnings
from collections.abc import Collection, Mapping, Sequence

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.wording import interval, number
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.records import PartScores
from hf_transfer.scores.over_folds import over_folds
from hf_transfer.scores.scorer import Scorer
from hf_transfer.scores.statistics import corrected_resampled_t

TOGETHER = ("both", "all")


def together(parts: Collection[str]) -> str:
    """What several parts are called as one."""
    return TOGETHER[len(parts) > 2]


def parts_part(
    folds: Mapping[str, Sequence[FoldResult]], scorer: Scorer, *, num_folds: int
) -> PartScores | None:
    """Build the `parts` part of results.json; None where a part has no score.

    Args:
        folds: Of the first repeat, by part, and of all together as the last; each head was solved in closed
            form.
        scorer: The task's.
        num_folds: Of a repeat.
    """
    metric = scorer.primary_metric
    scores = {name: [fold.scores.get(metric) for fold in of_part] for name, of_part in folds.items()}
    means = {name: over_folds(of_part).mean for name, of_part in scores.items()}
    whole = list(means)[-1]
    sign = 1 if scorer.higher_is_better[metric] else -1
    known = {name: sign * mean for name, mean in means.items() if mean is not None and name != whole}
    if len(known) < len(means) - 1 or means[whole] is None:
        return None
    best = max(known, key=known.__getitem__)
    pairs = zip(scores[whole], scores[best], strict=True)
    differences = [sign * (all_ - one) for all_, one in pairs if all_ is not None and one is not None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where all differences are equal, p is told to be none
        tested = corrected_resampled_t(differences, num_folds) if len(differences) > 1 else None
    return PartScores(
        metric=metric,
        folds=[fold.fold for fold in folds[whole]],
        scores=scores,
        means=means,
        best=best,
        ahead=tested.mean if tested else None,
        interval=tested.interval if tested else None,
        p=tested.p if tested and math.isfinite(tested.p) else None,
    )


def parts_words(parts: PartScores) -> str:
    """Say what each part reaches alone, and whether both are better than the best of them."""
    *alone, last = [
        f"{name} {number(mean)}" if name in TOGETHER else f"{name} alone {number(mean)}"
        for name, mean in parts.means.items()
    ]
    return f"{', '.join([*alone, last])}. {_compared(parts)}"


def _compared(parts: PartScores) -> str:
    word = next(name for name in parts.means if name in TOGETHER)
    rest = "the others" if len(parts.means) > 3 else "the other"
    if parts.ahead is None or parts.interval is None:
        return f"Whether {word} beat the {parts.best} alone is not known from one fold."
    by = f"{number(parts.ahead)} (95 % interval {interval(parts.interval)})"
    low, high = parts.interval
    if low > 0:
        return f"{word.title()} beat the {parts.best} alone by {by}."
    if high < 0:
        return f"{word.title()} are worse than the {parts.best} alone: ahead by {by}. Leave {rest} out."
    return f"{word.title()} cannot be told from the {parts.best} alone: ahead by {by}."
