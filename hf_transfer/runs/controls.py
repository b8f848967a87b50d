"""Learning curve, probe and shuffled labels: their parts of results.json, from the folds' files. No torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_transfer import _guard  # noqa: F401
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.leak_record import Arm, Leak, Price
from hf_transfer.runs.leak_words import related_words
from hf_transfer.runs.paired import corrected, folds_of
from hf_transfer.runs.records import (
    AddedSource,
    CurveSize,
    LearningCurve,
    PartScores,
    Probe,
    ShuffledLabels,
    WiseTest,
    ZeroShot,
)
from hf_transfer.scores.learning_curve import PERCENTS, read_curve, verdict
from hf_transfer.scores.over_folds import over_folds
from hf_transfer.scores.scorer import Scorer
from hf_transfer.scores.shuffled import judge_shuffled, shuffled_words
from hf_transfer.scores.site_reading import SiteReading
from hf_transfer.scores.statistics import bootstrap_interval

FoldsScored = tuple[Sequence[FoldResult], pa.Table]


@dataclass(frozen=True)
class Controls:
    """The parts of results.json that control runs make; None for what was not asked for."""

    learning_curve: LearningCurve | None
    shuffled: ShuffledLabels | None
    probe: Probe | None
    zero_shot: ZeroShot | None = None
    site: SiteReading | None = None
    leak: Leak | None = None
    parts: PartScores | None = None
    wise: WiseTest | None = None
    added_sources: list[AddedSource] = field(default_factory=list)


def curve_part(
    fold_results: Mapping[int, Sequence[FoldResult]],
    predictions_of: Callable[[int], pa.Table],
    scorer: Scorer,
    *,
    num_folds: int,
    seed: int,
) -> LearningCurve:
    """Build the `learning_curve` part of results.json.

    Args:
        fold_results: The folds on so many percent of their training rows, the whole folds last.
        predictions_of: Gives the held-out rows of a percentage, of which a fold is done.
        scorer: The task's.
        num_folds: Folds of one repeat.
        seed: The run's.
    """
    metric = scorer.primary_metric
    sizes = [_size(percent, folds, predictions_of, scorer, seed) for percent, folds in fold_results.items()]
    known = [size for size in sizes if size.mean is not None]
    curve = read_curve(
        [size.num_train for size in known],
        [[np.nan if score is None else score for score in size.scores] for size in known],
        num_folds=num_folds,
        higher_is_better=scorer.higher_is_better[metric],
        seed=seed,
    )
    failed = sum(fold.status == "failed" for percent in PERCENTS for fold in fold_results[percent])
    unit = scorer.unit_of(metric, known[-1].mean or 0.0) if known else 1.0
    said = verdict(curve, metric, higher_is_better=scorer.higher_is_better[metric], unit=unit)
    return LearningCurve(**vars(curve), metric=metric, sizes=sizes, verdict=said, failed=failed)


def _size(
    percent: int,
    folds: Sequence[FoldResult],
    predictions_of: Callable[[int], pa.Table],
    scorer: Scorer,
    seed: int,
) -> CurveSize:
    """One point of the learning curve: each fold's score, the mean, and a bootstrap interval."""
    metric = scorer.primary_metric
    scores = [fold.scores.get(metric) for fold in folds]  # a failed fold has none
    train_scores = [fold.train_scores.get(metric) for fold in folds]
    done = any(fold.status == "done" for fold in folds)
    return CurveSize(
        percent=percent,
        num_train=float(np.mean([fold.num_train for fold in folds])),
        scores=scores,
        train_scores=train_scores,
        mean=over_folds(scores).mean,
        train_mean=over_folds(train_scores).mean,
        interval=_interval(predictions_of(percent), scorer, seed) if done else None,
    )


def _interval(table: pa.Table, scorer: Scorer, seed: int) -> tuple[float, float] | None:
    drawn = table["unit" if "unit" in table.column_names else "row_id"].to_numpy()
    found = bootstrap_interval(scorer.resampler(table), table["fold"].to_numpy(), units=drawn, seed=seed)
    return found[scorer.primary_metric]


def probe_part(folds: Sequence[FoldResult], scorer: Scorer) -> Probe:
    """Build the `probe` part of results.json.

    Args:
        folds: Of the first repeat, each with a head that was solved in closed form.
        scorer: The task's.
    """
    metric = scorer.primary_metric
    scores = [fold.scores.get(metric) for fold in folds]
    return Probe(metric, [fold.fold for fold in folds], scores, over_folds(scores).mean)


def price_part(random: FoldsScored, apart: FoldsScored, scorer: Scorer) -> Price:
    """Set two splits of the same rows side by side, on the rows that each fold of the second holds out.

    Args:
        random: Folds that keep nothing together, and their predictions.
        apart: Folds that keep related rows together, and theirs.
        scorer: The task's.
    """
    metric = scorer.primary_metric
    sign = 1 if scorer.higher_is_better[metric] else -1
    differences: list[float | None] = []
    at_random = random[1].drop_columns(["repeat", "fold"])  # several score the rows of one
    for fold in apart[0]:
        own = apart[1].filter(pc.equal(apart[1]["fold"], fold.fold))
        same = at_random.filter(pc.is_in(at_random["row_id"], value_set=own["row_id"].combine_chunks()))
        scores = [scorer.score(table).get(metric) if table.num_rows else None for table in (same, own)]
        differences.append(None if None in scores else sign * (scores[0] - scores[1]))  # type: ignore[operator]
    known = [one for one in differences if one is not None]
    test = corrected(known, folds_of(apart[0]))
    return Price(
        metric=metric,
        random=_arm(random[0], metric),
        apart=_arm(apart[0], metric),
        differences=differences,
        difference=float(np.mean(known)) if known else None,
        interval=test.interval if test else None,
        p=test.p if test else None,
    )


def _arm(folds: Sequence[FoldResult], metric: str) -> Arm:
    scores = [fold.scores.get(metric) for fold in folds]
    return Arm(
        scores=scores,
        mean=over_folds(scores).mean,
        num_train=float(np.mean([fold.num_train for fold in folds])),
    )


def shuffled_part(
    folds: Sequence[FoldResult],
    true: Sequence[FoldResult],
    table: pa.Table,
    scorer: Scorer,
    *,
    seed: int,
    unit: str,
) -> ShuffledLabels:
    """Build the `shuffled` part of results.json.

    Args:
        folds: Those trained on shuffled labels, of which one is done.
        true: The same folds with the true ones.
        table: The held-out rows of `folds`.
        scorer: The task's.
        seed: The run's.
        unit: What changed places.
    """
    judged, metric = judge_shuffled(table, scorer, seed=seed), scorer.primary_metric
    train, true_train = (
        over_folds([fold.train_scores.get(metric) for fold in part]).mean for part in (folds, true)
    )
    failed = sum(fold.status == "failed" for fold in folds)
    return ShuffledLabels(
        **vars(judged),
        runs=len(folds) - failed,
        unit=unit,
        train_score=train,
        true_train_score=true_train,
        verdict=shuffled_words(judged),
        failed=failed,
    )


def control_notes(controls: Controls) -> list[str]:
    """Notes about the control runs: failed trainings, and a leak if there is one."""
    notes = []
    for title, part in (("learning curve", controls.learning_curve), ("shuffled labels", controls.shuffled)):
        if part and part.failed:
            notes.append(f"{part.failed} trainings of the {title} failed and are left out of it.")
    if controls.shuffled and controls.shuffled.leak:
        notes.append(controls.shuffled.verdict)
    if controls.site and (controls.site.alarm or controls.site.auc is None):
        notes.append(controls.site.words)
    if controls.leak and controls.leak.found:
        notes.append(related_words(controls.leak))
    return notes
