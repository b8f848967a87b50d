"""From the folds of a study to results.json: the contract between computing and publishing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

import hf_transfer
from hf_transfer import _guard  # noqa: F401
from hf_transfer.calibration import calibrate
from hf_transfer.config import RunConfig
from hf_transfer.environment import command, device_name, versions
from hf_transfer.grid import against_best, corrected_best
from hf_transfer.layers import freeze_table
from hf_transfer.models import head_note
from hf_transfer.results import CrossValidationResult, FoldResult
from hf_transfer.schedule import freeze_for
from hf_transfer.scorers import effective_folds, over_folds, summarise
from hf_transfer.study import Study


def build_results(
    study: Study,
    found: Mapping[RunConfig, Sequence[FoldResult]],
    best: RunConfig,
    *,
    final: dict[str, Any],
    test: dict[str, Any] | None,
    seconds: float,
) -> CrossValidationResult:
    """Put together all that a card says.

    Args:
        study: The finished study.
        found: The results of each configuration, one a fold, failed ones too.
        best: The configuration to report.
        final: How the model to publish was made.
        test: Scores of the untouched test rows.
        seconds: The whole run took.
    """
    results = found[best]
    predictions = study.predictions(best, results)
    done = [result for result in results if result.status == "done"]
    scorer, seed = study.task.scorer, study.config.seed
    num_folds = effective_folds([(r.num_train, r.num_valid) for r in done])
    values = {
        "kit_version": hf_transfer.__version__,
        "created": datetime.now(UTC).date().isoformat(),
        "task": study.task.name,
        **_model(study),
        "dataset": _dataset(study),
        "config": _config(study, best),
        "grid": _grid(study, found, best),
        "replay": study.replay.describe(),
        "label_names": list(study.task.label_names),
        "folds_scheme": study.plans[0].scheme,
        "folds_path": f"folds/{study.place_of(best)}".rstrip("/"),
        "folds_fingerprint": study.plans[0].fingerprint(study.uids),
        "num_folds": study.plans[0].num_folds,
        "num_repeats": len(study.plans),
        "scores": summarise([r.scores for r in done], predictions, scorer, seed=seed, num_folds=num_folds),
        "primary_metric": scorer.primary_metric,
        "higher_is_better": scorer.higher_is_better,
        "per_class": scorer.per_class(predictions),
        "confusion": scorer.confusion(predictions),
        "calibration": calibrate(predictions, scorer, seed=seed),
        **_freezing(study, best, done),
        "test": test,
        "notes": _notes(study, best, results),
        "hardware": {
            "device": device_name(study.accelerator.device),
            "num_processes": study.accelerator.num_processes,
            "num_threads": torch.get_num_threads(),
            "parallel": "data" if study.workers.together else "folds",
            "mixed_precision": study.accelerator.mixed_precision,
            "seconds": seconds,
        },
        "versions": versions(),
        "command": command(),
        "final": final,
    }
    return CrossValidationResult(values, tuple(results), predictions)


def _model(study: Study) -> dict[str, Any]:
    base = study.task.base
    return {
        "base_model": study.config.base_model,
        "base_model_revision": base.revision,
        "architecture": base.architecture,
        "library": "timm" if base.is_timm else "transformers",
        "from_scratch": study.config.from_scratch or not base.has_weights,
    }


def _dataset(study: Study) -> dict[str, Any]:
    data, names = study.data, study.task.label_names
    labels = np.hstack([np.asarray(label) for label in data.rows["label"][:]])
    counts = Counter(labels.tolist())
    return {
        "name": data.name,
        "config": data.config_name,
        "split": data.split,
        "fingerprint": data.fingerprint,
        "num_rows": len(data.rows),
        "hub": data.hub,
        "column": data.input_column,
        "label_column": data.label_column,
        "class_counts": {name: counts[i] for i, name in enumerate(names)},
        "grouped_by": study.config.group_by,
    }


def _config(study: Study, best: RunConfig) -> dict[str, Any]:
    """The settings of the reported configuration, with the lists that it was chosen from."""
    lists = {name: list(getattr(study.config, name)) for name in ("learning_rates", "weight_decays")}
    return best.to_dict() | lists


def _grid(
    study: Study, found: Mapping[RunConfig, Sequence[FoldResult]], best: RunConfig
) -> list[dict[str, Any]] | None:
    """Each configuration with its folds and how it stands to the best; None when there was only one."""
    if len(found) == 1:
        return None
    scorer, configs = study.task.scorer, list(found)
    # The best one's predictions first, and one table at a time: they may be large.
    order = [best, *(c for c in configs if c != best and any(r.status == "done" for r in found[c]))]
    tables = (study.predictions(config, found[config]) for config in order)
    corrected = corrected_best(tables, scorer, seed=study.config.seed)
    tests = against_best(list(found.values()), configs.index(best), scorer)
    return [
        {
            "learning_rate": config.learning_rate,
            "weight_decay": config.weight_decay,
            "best": config == best,
            "scores": {
                name: over_folds([r.scores.get(name) for r in results if r.status == "done"])
                for name in scorer.higher_is_better
            },
            **test,
            "bbc": corrected if config == best else None,
            "folds": [asdict(result) for result in results],
        }
        for (config, results), test in zip(found.items(), tests, strict=True)
    ]


def _freezing(study: Study, config: RunConfig, done: Sequence[FoldResult]) -> dict[str, Any]:
    """The freeze table, and its proof from every fold."""
    model = study.task.build_model()
    freezing = freeze_for(model, config)
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    proof = None
    if freezing.frozen_groups and done:
        proof = {
            "groups": list(freezing.frozen_groups),
            "hash_before": done[0].frozen_hash_before,
            "hash_after": done[0].frozen_hash_after,
            "equal": all(r.frozen_hash_before == r.frozen_hash_after for r in done),
        }
    return {
        "frozen_proof": proof,
        "trainable": {
            "parameters": sum(sizes[name] for name in freezing.trainable),
            "total": sum(sizes.values()),
            "spec": config.trainable,
        },
        "layers": freeze_table(
            model, freezing, learning_rate=config.learning_rate, layer_decay=config.layer_decay
        ),
    }


def _notes(study: Study, best: RunConfig, results: Sequence[FoldResult]) -> list[str]:
    """Choices that were made for the user, each once."""
    notes = [*study.data.notes, *(note for plan in study.plans for note in plan.notes), *study.replay.notes]
    if len(study.grid) > 1:
        notes.append(
            f"The best of {len(study.grid)} configurations by {study.task.scorer.primary_metric} on these "
            f"same folds (learning_rate={best.learning_rate:g}, weight_decay={best.weight_decay:g}): its "
            "score is somewhat too good for having been chosen by it."
        )
    base = study.task.base
    if head := head_note(base, study.task.label_names):
        notes.append(head)
    if not base.has_weights and not study.config.from_scratch:
        notes.append(f"{base.name} has no pretrained weights: this is training from scratch.")
    if "cut" in study.encoded.column_names:
        cut = np.asarray(study.encoded["cut"][:])
        if cut.any():
            notes.append(
                f"{int((cut > 0).sum())} of {len(cut)} texts were longer than the model reads and were cut."
            )
    if study.config.early_stopping and not all(r.num_train >= 300 for r in results):
        notes.append("Early stopping was left out where a fold has fewer than 300 training rows.")
    failed = sum(r.status == "failed" for r in results)
    if failed:
        notes.append(f"{failed} of {len(results)} folds failed and are not part of the scores.")
    return list(dict.fromkeys(notes))
