"""Build results.json, the contract between computing and publishing, from a study's folds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import torch
from torch import nn

import hf_transfer
from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import GRID_SETTINGS, RunConfig
from hf_transfer.layers import Freezing, freeze_table
from hf_transfer.layers.phases import freeze_for
from hf_transfer.machine.environment import command, device_name, versions
from hf_transfer.models.notes import dropout_note, head_note, kept_share_note, language_note
from hf_transfer.runs.aggregate import (
    FoldResults,
    choice_notes,
    class_counts,
    fold_notes,
    frozen_proof,
    group_part,
    score_part,
    split_part,
)
from hf_transfer.runs.controls import Controls, control_notes
from hf_transfer.runs.convergence import judge_learning
from hf_transfer.runs.final_record import Final, RowScores
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.overfitting import History, diagnose
from hf_transfer.runs.records import (
    Choice,
    DatasetFacts,
    Hardware,
    LayerRow,
    Results,
    StoredLayers,
    Trainable,
)
from hf_transfer.runs.results import CrossValidationResult
from hf_transfer.runs.run_folder import place_of, read_histories
from hf_transfer.study.experiment import Experiment
from hf_transfer.study.fold_runner import FoldRunner

if TYPE_CHECKING:
    from hf_transfer.study.study import Study


def build_results(
    study: "Study",
    fold_results: FoldResults,
    best: RunConfig,
    *,
    made: tuple[Final, RowScores | None],
    controls: Controls,
    seconds: float,
) -> CrossValidationResult:
    """Build the results of a run.

    Args:
        study: The finished study.
        fold_results: The results of each configuration, one a fold, failed ones too.
        best: The configuration to report.
        made: How the model to publish was made, and its scores on the untouched test rows.
        controls: What was trained beside the folds.
        seconds: What the whole run took.
    """
    experiment, runner, results = study.experiment, study.runner, fold_results[best]
    scorer, model = experiment.task.target.scorer, experiment.task.build_model()

    def predictions_of(config: RunConfig) -> pa.Table:
        return study.predictions(config, fold_results[config])

    built = Results(
        notes=[  # first, of the model before it is frozen, or adapters are in it
            *_notes(study, model),
            *choice_notes(fold_results, best, scorer),
            *fold_notes(results),
            *control_notes(controls),
        ],
        **_process(),
        **_learned(experiment),
        dataset=_dataset(experiment),
        config=_config(experiment, best),
        choice=_choice(experiment),
        replay=[StoredLayers(**about) for about in runner.replay.describe()],
        folds_path=f"folds/{place_of(best, list(fold_results))}".rstrip("/"),
        **split_part(experiment.plans, experiment.uids),
        **score_part(fold_results, best, predictions_of, scorer),
        **_freezing(model, best, results),
        final=made[0],
        test=made[1],
        **vars(controls),
        hardware=_hardware(runner, seconds),
        folds=list(results),
    )
    judged = _judged(built, read_histories(runner.folder.path / built.folds_path))
    return CrossValidationResult(judged, predictions_of(best))


def _judged(results: Results, histories: Mapping[str, History]) -> Results:
    """Add what follows from all the rest: whether the models overfit, and whether they learned."""
    overfitting = diagnose(results, histories)
    learned = judge_learning(results, histories, overfitting)
    return replace(results, overfitting=overfitting, learned=learned)


def _choice(experiment: Experiment) -> Choice:
    costs = list(experiment.decision.costs)
    return Choice(
        rule="one standard error" if costs else "best",
        costs=costs or None,
        found=list(experiment.decision.settled),
    )


def _process() -> dict[str, Any]:
    """Which code ran, when, and by what command."""
    return {
        "kit_version": hf_transfer.__version__,
        "created": datetime.now(UTC).date().isoformat(),
        "versions": versions(),
        "command": command(),
    }


def _hardware(runner: FoldRunner, seconds: float) -> Hardware:
    return Hardware(
        device=device_name(runner.accelerator.device),
        num_processes=runner.accelerator.num_processes,
        num_threads=torch.get_num_threads(),
        parallel="data" if runner.workers.together else "folds",
        mixed_precision=runner.accelerator.mixed_precision,
        seconds=seconds,
    )


def _learned(experiment: Experiment) -> dict[str, Any]:
    """What was learned, by which model."""
    task, base = experiment.task, experiment.task.base
    return {
        "task": task.name,
        "input": task.input.name,
        "target": task.target.name,
        "label_names": list(task.label_names),
        "base_model": experiment.config.base_model,
        "base_model_revision": base.revision,
        "architecture": base.architecture,
        "library": task.library,
        "from_scratch": experiment.config.from_scratch or not base.has_weights,
        "base_origin": experiment.base_origin,
    }


def _dataset(experiment: Experiment) -> DatasetFacts:
    data, names = experiment.data, experiment.task.target.id_names
    return DatasetFacts(
        name=data.name,
        config=data.config_name,
        split=data.split,
        fingerprint=data.fingerprint,
        num_rows=len(data.rows),
        hub=data.hub,
        column=data.input_column,
        label_column=data.label_column,
        class_counts=class_counts(data.rows["label"][:], names),
        grouped_by=data.grouped_by,
        kept_by=data.kept_by,
        **group_part(experiment.columns),
    )


def _config(experiment: Experiment, best: RunConfig) -> RunConfig:
    """Settings of the reported configuration, with the lists it was chosen from."""
    return replace(best, **{f"{name}s": getattr(experiment.config, f"{name}s") for name in GRID_SETTINGS})


def _freezing(model: nn.Module, config: RunConfig, folds: Sequence[FoldResult]) -> dict[str, Any]:
    """The freeze table, and its proof from every fold."""
    freezing = freeze_for(model, config)
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    return {
        "frozen_proof": frozen_proof(freezing.frozen_groups, folds),
        "trainable": Trainable(
            sum(sizes[name] for name in freezing.trainable), sum(sizes.values()), config.trainable
        ),
        "layers": _layers(model, freezing, config),
    }


def _layers(model: nn.Module, freezing: Freezing, config: RunConfig) -> list[LayerRow]:
    """The freeze table; a closed-form head has no learning rate in it."""
    rates = (
        {} if config.solved else {"learning_rate": config.learning_rate, "layer_decay": config.layer_decay}
    )
    return [LayerRow(**row) for row in freeze_table(model, freezing, **rates)]


def _notes(study: "Study", model: nn.Module) -> list[str]:
    """Notes on automatic choices about data, folds and model, each once."""
    experiment, task, replay = study.experiment, study.experiment.task, study.runner.replay
    notes = [
        *experiment.decision.words,
        *experiment.data.notes,
        *experiment.split_notes,
        *replay.notes,
        *study.runner.notes,
    ]
    base = task.base
    origin = experiment.base_origin
    notes += (*([origin.words] if origin else []), *task.notes)
    own = [head_note(base, task.label_names), kept_share_note(base), language_note(base), dropout_note(model)]
    notes += filter(None, own)
    if not base.has_weights and not experiment.config.from_scratch:
        notes.append(f"{base.name} has no pretrained weights: this is training from scratch.")
    if any("+lora" in config.trainable for config in experiment.grid) and experiment.config.final != "none":
        notes.append(
            "Adapters (+lora) are published added into the weights that they stood beside: the model loads "
            "without peft."
        )
    notes += task.encoded_notes(replay.encoded)
    return list(dict.fromkeys(notes))
