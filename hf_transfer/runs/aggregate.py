"""Compute the parts of results.json that follow from folds, split and predictions.

A run is written and checked by this one code. Nothing here needs torch.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from statistics import fmean, median
from typing import Any

import numpy as np
import pyarrow as pa

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import GRID_SETTINGS, RunConfig, differing
from hf_transfer.folds import FoldColumns, FoldPlan, RowIds
from hf_transfer.machine.wording import count, fold_name
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.grid import against_best, corrected_best
from hf_transfer.runs.records import FrozenProof, GridEntry
from hf_transfer.scores.calibration import calibrate
from hf_transfer.scores.cut_points import find_cuts
from hf_transfer.scores.detection import detect
from hf_transfer.scores.names import LOSS
from hf_transfer.scores.over_folds import over_folds, summarise
from hf_transfer.scores.scorer import Scorer
from hf_transfer.scores.statistics import effective_folds, one_standard_error

FEWEST_TO_STOP_EARLY = 300  # below, an inner split is so small that it picks noise

FoldResults = Mapping[RunConfig, Sequence[FoldResult]]
"""The folds of each configuration, failed ones too."""


def best_of(fold_results: FoldResults, scorer: Scorer) -> RunConfig:
    """The configuration with the best mean primary metric; complete ones come before incomplete ones.

    Of those within one standard error of it, the one with the lowest loss.
    """
    best, loss = _highest(fold_results, scorer), "" if scorer.primary_metric == LOSS else LOSS
    losses = {
        config: fmean(values)
        for config, folds in fold_results.items()
        if (values := _known(folds, loss)) and len(values) == len(folds)
    }
    return _cheapest(fold_results, best, losses, scorer)


def frugal_of(fold_results: FoldResults, scorer: Scorer, costs: Sequence[float]) -> RunConfig:
    """The cheapest configuration within one standard error of the best.

    Args:
        fold_results: The folds of each configuration.
        scorer: The task's.
        costs: Of each configuration, in order; trained parameters, for one.
    """
    best = _highest(fold_results, scorer)
    return _cheapest(fold_results, best, dict(zip(fold_results, costs, strict=True)), scorer)


def _highest(fold_results: FoldResults, scorer: Scorer) -> RunConfig:
    """The best mean primary metric; complete ones come before incomplete ones."""
    name = scorer.primary_metric
    sign = 1 if scorer.higher_is_better[name] else -1

    def merit(config: RunConfig) -> tuple[int, float]:
        values = _known(fold_results[config], name)
        return len(finished(fold_results[config])), sign * fmean(values) if values else -math.inf

    return max(fold_results, key=merit)


def _cheapest(
    fold_results: FoldResults, best: RunConfig, costs: Mapping[RunConfig, float], scorer: Scorer
) -> RunConfig:
    """The cheapest within one standard error of the best; the best where that cannot be tested."""
    name = scorer.primary_metric
    sign = 1 if scorer.higher_is_better[name] else -1
    scores = {config: _known(fold_results[config], name) for config in costs}
    num_folds = len(fold_results[best])
    if best not in costs or num_folds < 2 or any(len(line) < num_folds for line in scores.values()):
        return best
    lines = sign * np.array(list(scores.values()), dtype=np.float64)
    configs = list(costs)
    folds = effective_folds([(fold.num_train, fold.num_valid) for fold in fold_results[best]])
    behind = lines[configs.index(best)] - lines
    return configs[one_standard_error(behind, list(costs.values()), folds)]


def _known(folds: Iterable[FoldResult], metric: str) -> list[float]:
    """Scores of the finished folds that have one."""
    return [value for fold in finished(folds) if (value := fold.scores.get(metric)) is not None]


def finished(folds: Iterable[FoldResult]) -> list[FoldResult]:
    """Folds that have a result."""
    return [fold for fold in folds if fold.status == "done"]


def split_part(plans: Sequence[FoldPlan], uids: RowIds) -> dict[str, Any]:
    """Part of results.json about the split."""
    return {
        "folds_scheme": plans[0].scheme,
        "folds_fingerprint": plans[0].fingerprint(uids),
        "num_folds": plans[0].num_folds,
        "num_repeats": len(plans),
    }


def group_part(columns: FoldColumns) -> dict[str, int]:
    """Part of the facts about the rows: how many groups stay together, and the largest one's rows."""
    if columns.groups is None:
        return {}
    sizes = Counter(columns.groups)
    return {"num_groups": len(sizes), "largest_group": max(sizes.values())}


def score_part(
    fold_results: FoldResults,
    best: RunConfig,
    predictions_of: Callable[[RunConfig], pa.Table | None],
    scorer: Scorer,
) -> dict[str, Any]:
    """Part of results.json about scores: over folds, by class, and of each configuration.

    Args:
        fold_results: The folds of each configuration.
        best: The configuration to report.
        predictions_of: Gives the out-of-fold rows of a configuration; None where they are not there.
        scorer: The task's.
    """
    done, predictions = finished(fold_results[best]), predictions_of(best)
    sizes = [(fold.num_train, fold.num_valid) for fold in done]
    num_folds = effective_folds(sizes) if sizes else None
    scores = [fold.scores for fold in done]
    return {
        "scores": summarise(scores, predictions, scorer, seed=best.seed, num_folds=num_folds),
        "primary_metric": scorer.primary_metric,
        "higher_is_better": scorer.higher_is_better,
        "per_class": scorer.per_class(predictions),
        "confusion": scorer.confusion(predictions),
        "scatter": scorer.scatter(predictions),
        "ranges": {name: finite(scorer.range_of(name)) for name in scorer.higher_is_better},
        "calibration": calibrate(predictions, scorer, seed=best.seed),
        "detections": detect(predictions, scorer, best.at_specificity, seed=best.seed),
        "cuts": find_cuts(predictions, scorer),
        "grid": _grid(fold_results, best, predictions_of, scorer),
    }


def finite(ends: Iterable[float]) -> list[float | None]:
    """The ends of a range as JSON has them: None for no end."""
    return [end if math.isfinite(end) else None for end in ends]


def _grid(
    fold_results: FoldResults,
    best: RunConfig,
    predictions_of: Callable[[RunConfig], pa.Table | None],
    scorer: Scorer,
) -> list[GridEntry] | None:
    """Each configuration with its folds, and its test against the best; None if there is only one."""
    if len(fold_results) == 1:
        return None
    configs = list(fold_results)
    # The best one's predictions first, and one table at a time: they may be large.
    order = [best, *(config for config in configs if config != best and finished(fold_results[config]))]
    tables = (table for config in order if (table := predictions_of(config)) is not None)
    means = over_folds([fold.scores.get(scorer.primary_metric) for fold in finished(fold_results[best])])
    corrected = corrected_best(tables, scorer, means.mean, seed=best.seed)
    tests = against_best(list(fold_results.values()), configs.index(best), scorer)
    names = dict.fromkeys([*GRID_SETTINGS, *differing(configs)])
    return [
        GridEntry(
            settings={name: getattr(config, name) for name in names},
            parameters=next((fold.parameters for fold in finished(folds)), None),
            best=config == best,
            scores={
                name: over_folds([fold.scores.get(name) for fold in finished(folds)])
                for name in scorer.higher_is_better
            },
            **test,
            bbc=corrected if config == best else None,
            folds=list(folds),
        )
        for (config, folds), test in zip(fold_results.items(), tests, strict=True)
    ]


def frozen_proof(groups: Sequence[str], folds: Sequence[FoldResult]) -> FrozenProof | None:
    """Digests of the frozen layers before and after training; None if nothing was frozen."""
    done = finished(folds)
    if not groups or not done:
        return None
    return FrozenProof(
        groups=list(groups),
        hash_before=done[0].frozen_hash_before,
        hash_after=done[0].frozen_hash_after,
        equal=all(fold.frozen_hash_before == fold.frozen_hash_after for fold in done),
    )


def final_epochs(folds: Sequence[FoldResult]) -> int:
    """Number of epochs of the final model: the median over folds."""
    return round(median(fold.num_epochs for fold in finished(folds)))


def class_counts(labels: Iterable[Any], label_names: Sequence[str]) -> dict[str, int]:
    """Count labels by name; a row has one label, or one a word."""
    lists = (label if isinstance(label, Sequence) else (label,) for label in labels)
    counts = Counter(chain.from_iterable(lists))
    return {name: counts[i] for i, name in enumerate(label_names)}


def choice_notes(fold_results: FoldResults, best: RunConfig, scorer: Scorer) -> list[str]:
    """Notes about the choice of a configuration, left-out early stopping, and failed folds."""
    notes, folds = [], fold_results[best]
    if len(fold_results) > 1:
        notes.append(
            f"Chosen from {len(fold_results)} configurations by {scorer.primary_metric} on these same folds "
            f"({', '.join(f'{name}={getattr(best, name)}' for name in differing(list(fold_results)))}): its "
            "score is somewhat too good for having been chosen by it."
        )
        if best != _highest(fold_results, scorer) and best == best_of(fold_results, scorer):
            notes.append(
                f"Another one has a better mean {scorer.primary_metric}, by less than a standard error. Of "
                f"those that close, the reported one has the lowest {LOSS}."
            )
    if best.early_stopping and not all(fold.num_train >= FEWEST_TO_STOP_EARLY for fold in folds):
        notes.append("Early stopping was left out where a fold has fewer than 300 training rows.")
    failed = len(folds) - len(finished(folds))
    if failed:
        what = {
            "refit": "The final model is one of all rows all the same.",
            "none": "",
        }.get(best.final, "The final model is made of the folds that were finished.")
        notes.append(f"{failed} of {len(folds)} folds failed and are not part of the scores. {what}".rstrip())
    return notes


def _environment_notes(folds: Sequence[FoldResult]) -> list[str]:
    """In what the folds' environments differ: a run may be stopped and go on elsewhere."""
    seen = [asdict(fold.environment) for fold in folds if fold.environment is not None]
    differing = []
    for name in seen[0] if seen else ():
        counts = Counter(str(one[name]) for one in seen)
        if len(counts) > 1:
            shown = ", ".join(f"{value} ({count(number, 'fold')})" for value, number in counts.items())
            differing.append(f"{name} {shown}")
    if not differing:
        return []
    return [f"Not all folds were trained with the same: {'; '.join(differing)}."]


def fold_notes(folds: Iterable[FoldResult]) -> list[str]:
    """Notes from the training of each fold, and why some failed."""
    folds, notes = list(folds), []
    strengths = sorted({fold.weight_decay for fold in folds if fold.weight_decay is not None})
    if strengths:
        shown = " to ".join(f"{strength:.2g}" for strength in dict.fromkeys([strengths[0], strengths[-1]]))
        notes.append(
            f"The head was solved in closed form, with an L2 penalty (weight_decay) of {shown} against the "
            "mean loss of a row."
        )
    notes += _environment_notes(folds)
    num_repeats = 1 + max((fold.repeat for fold in folds), default=0)
    for fold in folds:
        name = fold_name(fold.repeat, fold.fold, num_repeats).capitalize()
        said = [*fold.notes, f"it failed. {fold.error}"] if fold.status != "done" else fold.notes
        notes += [f"{name}: {note}" for note in said]
    return notes
