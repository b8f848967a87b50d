"""What of results.json follows from the folds, the split and the predictions alone.

A run is written and checked by this one code. Nothing here needs torch.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from statistics import fmean, median
from typing import Any

import numpy as np
import pyarrow as pa

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import GRID_SETTINGS, RunConfig, differing
from hf_transfer.folds import FoldPlan, RowIds
from hf_transfer.machine.wording import fold_name
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.grid import against_best, corrected_best
from hf_transfer.runs.records import FrozenProof, GridEntry
from hf_transfer.scores.calibration import calibrate
from hf_transfer.scores.over_folds import over_folds, summarise
from hf_transfer.scores.scorer import Scorer
from hf_transfer.scores.statistics import effective_folds, one_standard_error

FEWEST_TO_STOP_EARLY = 300  # below, an inner split is so small that it picks noise

Found = Mapping[RunConfig, Sequence[FoldResult]]
"""The folds of each configuration, failed ones too."""


def best_of(found: Found, scorer: Scorer) -> RunConfig:
    """The configuration with the best mean of the primary metric; those with all folds go first."""
    name = scorer.primary_metric
    sign = 1 if scorer.higher_is_better[name] else -1

    def merit(config: RunConfig) -> tuple[int, float]:
        done = finished(found[config])
        values = [value for r in done if (value := r.scores.get(name)) is not None]
        return len(done), sign * fmean(values) if values else -math.inf

    return max(found, key=merit)


def frugal_of(found: Found, scorer: Scorer, costs: Sequence[float]) -> RunConfig:
    """The cheapest configuration that is not clearly worse than the best: the rule of one standard error.

    Args:
        found: The folds of each configuration.
        scorer: The task's.
        costs: Of each configuration, in order; trained parameters, for one.
    """
    name, best = scorer.primary_metric, best_of(found, scorer)
    sign = 1 if scorer.higher_is_better[name] else -1
    scores = [[fold.scores.get(name) for fold in folds] for folds in found.values()]
    if any(value is None for line in scores for value in line) or len(scores[0]) < 2:
        return best
    lines = sign * np.array(scores, dtype=np.float64)
    configs = list(found)
    folds = effective_folds([(fold.num_train, fold.num_valid) for fold in found[best]])
    return configs[one_standard_error(lines[configs.index(best)] - lines, costs, folds)]


def finished(folds: Iterable[FoldResult]) -> list[FoldResult]:
    """The folds that have a result."""
    return [fold for fold in folds if fold.status == "done"]


def split_part(plans: Sequence[FoldPlan], uids: RowIds) -> dict[str, Any]:
    """How the rows were split."""
    return {
        "folds_scheme": plans[0].scheme,
        "folds_fingerprint": plans[0].fingerprint(uids),
        "num_folds": plans[0].num_folds,
        "num_repeats": len(plans),
    }


def score_part(
    found: Found, best: RunConfig, predictions_of: Callable[[RunConfig], pa.Table | None], scorer: Scorer
) -> dict[str, Any]:
    """All scores over folds: of the best configuration, of its classes, and of each configuration.

    Args:
        found: The folds of each configuration.
        best: The configuration to report.
        predictions_of: Gives the out-of-fold rows of a configuration; None where they are not there.
        scorer: The task's.
    """
    done, predictions = finished(found[best]), predictions_of(best)
    sizes = [(fold.num_train, fold.num_valid) for fold in done]
    num_folds = effective_folds(sizes) if sizes else None
    scores = [fold.scores for fold in done]
    return {
        "scores": summarise(scores, predictions, scorer, seed=best.seed, num_folds=num_folds),
        "primary_metric": scorer.primary_metric,
        "higher_is_better": scorer.higher_is_better,
        "per_class": scorer.per_class(predictions),
        "confusion": scorer.confusion(predictions),
        "calibration": calibrate(predictions, scorer, seed=best.seed),
        "grid": _grid(found, best, predictions_of, scorer),
    }


def _grid(
    found: Found, best: RunConfig, predictions_of: Callable[[RunConfig], pa.Table | None], scorer: Scorer
) -> list[GridEntry] | None:
    """Each configuration with its folds and how it stands to the best; None when there was only one."""
    if len(found) == 1:
        return None
    configs = list(found)
    # The best one's predictions first, and one table at a time: they may be large.
    order = [best, *(config for config in configs if config != best and finished(found[config]))]
    tables = (table for config in order if (table := predictions_of(config)) is not None)
    corrected = corrected_best(tables, scorer, seed=best.seed)
    tests = against_best(list(found.values()), configs.index(best), scorer)
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
        for (config, folds), test in zip(found.items(), tests, strict=True)
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
    """Epochs of the model to publish: the median of the folds'."""
    return round(median(fold.num_epochs for fold in finished(folds)))


def class_counts(labels: Iterable[Any], label_names: Sequence[str]) -> dict[str, int]:
    """Count the labels by name; a row has one number, or one for each word."""
    lists = (label if isinstance(label, Sequence) else (label,) for label in labels)
    counts = Counter(chain.from_iterable(lists))
    return {name: counts[i] for i, name in enumerate(label_names)}


def choice_notes(found: Found, best: RunConfig, scorer: Scorer) -> list[str]:
    """Say what was chosen, left out or lost, as far as the folds tell it."""
    notes, folds = [], found[best]
    if len(found) > 1:
        notes.append(
            f"Chosen from {len(found)} configurations by {scorer.primary_metric} on these same folds "
            f"({', '.join(f'{name}={getattr(best, name)}' for name in differing(list(found)))}): its "
            "score is somewhat too good for having been chosen by it."
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


def fold_notes(folds: Iterable[FoldResult]) -> list[str]:
    """What happened while folds were trained, each with the fold's number; why some failed."""
    folds, notes = list(folds), []
    strengths = sorted({fold.weight_decay for fold in folds if fold.weight_decay is not None})
    if strengths:
        shown = " to ".join(f"{strength:.2g}" for strength in dict.fromkeys([strengths[0], strengths[-1]]))
        notes.append(
            f"The head was solved in closed form, with an L2 penalty (weight_decay) of {shown} against the "
            "mean loss of a row."
        )
    num_repeats = 1 + max((fold.repeat for fold in folds), default=0)
    for fold in folds:
        name = fold_name(fold.repeat, fold.fold, num_repeats).capitalize()
        said = [*fold.notes, f"it failed. {fold.error}"] if fold.status != "done" else fold.notes
        notes += [f"{name}: {note}" for note in said]
    return notes
