"""What of results.json follows from the folds, the split and the predictions alone.

A run is written and checked by this one code. Nothing here needs torch.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean, median
from typing import Any

import numpy as np
import pyarrow as pa

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config import RunConfig
from hf_transfer.folds import FoldPlan
from hf_transfer.results import FoldResult
from hf_transfer.scorers import Scorer, over_folds, summarise

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


def finished(folds: Iterable[FoldResult]) -> list[FoldResult]:
    """The folds that have a result."""
    return [fold for fold in folds if fold.status == "done"]


def split_part(plans: Sequence[FoldPlan], uids: Sequence[Any]) -> dict[str, Any]:
    """How the rows were split."""
    return {
        "folds_scheme": plans[0].scheme,
        "folds_fingerprint": plans[0].fingerprint(uids),
        "num_folds": plans[0].num_folds,
        "num_repeats": len(plans),
    }


def score_part(found: Found, best: RunConfig, predictions: pa.Table, scorer: Scorer) -> dict[str, Any]:
    """All scores over folds: of the best configuration, of its classes, and of each configuration.

    Args:
        found: The folds of each configuration.
        best: The configuration to report.
        predictions: Its out-of-fold rows.
        scorer: The task's.
    """
    done = finished(found[best])
    return {
        "scores": summarise([fold.scores for fold in done], predictions, scorer, seed=best.seed),
        "primary_metric": scorer.primary_metric,
        "higher_is_better": scorer.higher_is_better,
        "per_class": scorer.per_class(predictions),
        "confusion": scorer.confusion(predictions),
        "grid": _grid(found, best, scorer),
    }


def _grid(found: Found, best: RunConfig, scorer: Scorer) -> list[dict[str, Any]] | None:
    """Each configuration with its folds; None when there was only one."""
    if len(found) == 1:
        return None
    return [
        {
            "learning_rate": config.learning_rate,
            "weight_decay": config.weight_decay,
            "best": config == best,
            "scores": {
                name: over_folds([fold.scores.get(name) for fold in finished(folds)])
                for name in scorer.higher_is_better
            },
            "folds": [asdict(fold) for fold in folds],
        }
        for config, folds in found.items()
    ]


def frozen_proof(groups: Sequence[str], folds: Sequence[FoldResult]) -> dict[str, Any] | None:
    """Digests of the frozen layers before and after training; None if nothing was frozen."""
    done = finished(folds)
    if not groups or not done:
        return None
    return {
        "groups": list(groups),
        "hash_before": done[0].frozen_hash_before,
        "hash_after": done[0].frozen_hash_after,
        "equal": all(fold.frozen_hash_before == fold.frozen_hash_after for fold in done),
    }


def final_epochs(folds: Sequence[FoldResult]) -> int:
    """Epochs of the model to publish: the median of the folds'."""
    return round(median(fold.num_epochs for fold in finished(folds)))


def class_counts(labels: Iterable[Any], label_names: Sequence[str]) -> dict[str, int]:
    """Count the labels by name; a row has one number, or one for each word."""
    counts = Counter(np.hstack([np.asarray(label, np.int64) for label in labels]).tolist())
    return {name: counts[i] for i, name in enumerate(label_names)}


def choice_notes(found: Found, best: RunConfig, scorer: Scorer) -> list[str]:
    """Say what was chosen, left out or lost, as far as the folds tell it."""
    notes, folds = [], found[best]
    if len(found) > 1:
        notes.append(
            f"The best of {len(found)} configurations by {scorer.primary_metric} on these "
            f"same folds (learning_rate={best.learning_rate:g}, weight_decay={best.weight_decay:g}): its "
            "score is somewhat too good for having been chosen by it."
        )
    if best.early_stopping and not all(fold.num_train >= FEWEST_TO_STOP_EARLY for fold in folds):
        notes.append("Early stopping was left out where a fold has fewer than 300 training rows.")
    failed = len(folds) - len(finished(folds))
    if failed:
        notes.append(f"{failed} of {len(folds)} folds failed and are not part of the scores.")
    return notes
