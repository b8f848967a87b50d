"""Averaged weights beside their ends and shares between, on the same folds: in results.json. No torch."""

from collections import Counter
from collections.abc import Mapping, Sequence

import pyarrow as pa

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.machine.wording import count, interval, number, probability
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.paired import Pair, adjusted, pair_folds
from hf_transfer.runs.records import WiseTest
from hf_transfer.runs.same_rows import in_order, with_rows
from hf_transfer.scores.over_folds import FoldMean, over_folds
from hf_transfer.tasks.targets.target import Target

START, TUNED, AVERAGED = "solved head", "fine-tuning", "averaged"
ENDS = {START: 0.0, TUNED: 1.0}
"""Both ends, and their shares of the fine-tuned weights."""

FOLDERS = {0.0: "wise-start", 0.25: "wise-25", 0.5: "wise-50", 0.75: "wise-75", 1.0: "wise-tuned"}
"""Shares that every fold is scored at, whatever is chosen, and the folders of their predictions."""

FoldsScored = tuple[Sequence[FoldResult], pa.Table]


def share_place(place: str, share: float) -> str:
    """Where the predictions of a share of `FOLDERS` are, by the place of the fold in `folds/`."""
    inside, _, fold = place.rpartition("/")
    return f"{inside}/{FOLDERS[share]}/{fold}".lstrip("/")


def places_of(place: str, config: RunConfig) -> list[str]:
    """All places that the training of a fold writes to, its own last: it says that the others are whole."""
    return [*(share_place(place, share) for share in FOLDERS if config.wise), place]


def wise_part(
    shares: Mapping[float, FoldsScored], averaged: FoldsScored, target: Target, *, seed: int
) -> WiseTest:
    """Build the `wise` part of results.json.

    Args:
        shares: Of both ends, and of what lies between where all of `FOLDERS` were scored: what each fold
            scored, and its held-out predictions.
        averaged: The same of the averaged weights.
        target: What the labels are.
        seed: The run's.
    """
    scorer, ends = target.scorer, {name: shares[share] for name, share in ENDS.items()}
    metric, mine = scorer.primary_metric, in_order(averaged[1])
    better = scorer.higher_is_better[metric]
    pairs = adjusted([
        with_rows(
            pair_folds((name, folds), (AVERAGED, averaged[0]), metric, higher_is_better=better),
            in_order(table), mine, target, seed=seed,
        )
        for name, (folds, table) in ends.items()
    ])  # fmt: skip
    everyone = {name: folds for name, (folds, _) in ends.items()} | {AVERAGED: averaged[0]}
    means = {name: _mean(folds, metric) for name, folds in everyone.items()}
    reached = ", ".join(f"{name} {number(mean.mean)}" for name, mean in means.items())
    first, second = pairs
    words = f"{metric}: {reached}; {_against(second)}; {shares_words(averaged[0])}."
    everywhere = FOLDERS if shares.keys() >= FOLDERS.keys() else ()
    curve = {f"{share:g}": _mean(shares[share][0], metric) for share in everywhere}
    return WiseTest(
        metric=metric, means=means, against_start=first, against_tuned=second, verdict=words, curve=curve
    )


def _mean(folds: Sequence[FoldResult], metric: str) -> FoldMean:
    return over_folds([fold.scores.get(metric) for fold in folds])


def _against(pair: Pair) -> str:
    if pair.mean is None:
        return "no fold has both scores"
    tested = f" ({interval(pair.interval)}, p {probability(pair.p_adjusted)})" if pair.interval else ""
    return f"averaged against plain fine-tuning {pair.mean:+.3f}{tested}"


def shares_words(folds: Sequence[FoldResult]) -> str:
    """Which shares of the fine-tuned weights the folds took."""
    counts = Counter(fold.wise.share for fold in folds if fold.wise)
    told = ", ".join(f"{share:g} in {count(many, 'fold')}" for share, many in sorted(counts.items()))
    return f"share of the fine-tuned weights: {told}"
