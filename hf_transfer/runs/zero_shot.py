"""What a model reaches without training, and whether the run is better: its part of results.json."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.wording import interval, number, probability
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.paired import Pair, adjusted, pair_folds
from hf_transfer.runs.records import ZeroShot
from hf_transfer.runs.same_rows import in_order, with_rows
from hf_transfer.scores.over_folds import FoldMean, over_folds
from hf_transfer.scores.scorer import Scorer
from hf_transfer.tasks.targets.target import Target

ARMS = ("zero-shot", "fine-tuning")


@dataclass(frozen=True)
class Asked:
    """Who judged without training, and by which words.

    Attributes:
        model: Hub id or folder.
        revision: Commit, or a digest of the files.
        prompts: The sentence of each label, in the order of their ids.
        template: What the names were put into.
        folder: Name of the folder of what it predicted for each fold.
    """

    model: str
    revision: str | None
    template: str
    prompts: list[str]
    folder: str


def zero_shot_part(
    asked: Asked,
    folds: tuple[Sequence[FoldResult], Sequence[FoldResult]],
    tables: tuple[pa.Table, pa.Table],
    target: Target,
    scorer: Scorer,
    *,
    seed: int,
) -> ZeroShot:
    """Build the `zero_shot` part of results.json.

    Args:
        asked: Who judged.
        folds: What each fold scored without training, and with it.
        tables: The held-out predictions behind these.
        target: What the labels are.
        scorer: Of the run, with its primary metric.
        seed: The run's.
    """
    metric = scorer.primary_metric
    first, second = zip(ARMS, folds, strict=True)
    tested = pair_folds(first, second, metric, higher_is_better=scorer.higher_is_better[metric])
    (pair,) = adjusted([with_rows(tested, in_order(tables[0]), in_order(tables[1]), target, seed=seed)])
    names = dict.fromkeys(name for fold in folds[0] for name in fold.scores)
    scores = {name: _over(folds[0], name) for name in names}
    words = _words(_over(folds[0], metric).mean, _over(folds[1], metric).mean, pair)
    return ZeroShot(**vars(asked), metric=metric, scores=scores, pair=pair, verdict=words)


def _over(folds: Sequence[FoldResult], metric: str) -> FoldMean:
    return over_folds([fold.scores.get(metric) for fold in folds])


def _words(without: float | None, trained: float | None, pair: Pair) -> str:
    """Say in a line what both reach."""
    if pair.mean is None:
        return f"{pair.metric} {number(without)} without training, {number(trained)} with it."
    tested = f" ({interval(pair.interval)}, p {probability(pair.p)})" if pair.interval else ""
    return (
        f"{pair.metric} {number(without)} without training, {number(trained)} with it: "
        f"{pair.mean:+.3f}{tested}."
    )
