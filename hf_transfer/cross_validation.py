"""Score a configuration on a task by cross-validation, and train the model to publish."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

import numpy as np
from accelerate import Accelerator

from hf_transfer import _guard  # noqa: F401
from hf_transfer.aggregate import final_epochs
from hf_transfer.config import RunConfig
from hf_transfer.controls import run_controls
from hf_transfer.data import LabelledData, label_rows
from hf_transfer.folds import derive_seed
from hf_transfer.models import save_model
from hf_transfer.results import CrossValidationResult, FoldResult, write_table
from hf_transfer.run_folder import RunFolder, weight_digests
from hf_transfer.schedule import freeze_for
from hf_transfer.study import Study
from hf_transfer.summary import build_results
from hf_transfer.tasks.base import Task
from hf_transfer.training import Fitted
from hf_transfer.workers import make_accelerator

if TYPE_CHECKING:
    from datasets import Dataset


def cross_validate(
    task: Task,
    dataset: "Dataset | LabelledData",
    config: RunConfig,
    *,
    accelerator: Accelerator | None = None,
    grid: Sequence[RunConfig] = (),
) -> CrossValidationResult:
    """Score `config` on `task` by k-fold cross-validation, and refit it on all rows.

    Everything is written to `config.output_dir` as it is found. Called again with the same
    arguments, it goes on where it stopped.

    Args:
        task: What to learn.
        dataset: Labelled rows, from `open_dataset` or any `datasets.Dataset`. Keep test rows out.
        config: How to learn.
        accelerator: Where to run; made from the launcher's environment when not given.
        grid: Configurations to try under the same folds, where lists in `config` do not say it; they
            differ from it in how to learn only.

    Raises:
        TransferError: If a setting, the data or the base model is not usable; or every fold failed.
    """
    accelerator = accelerator or make_accelerator(config)
    began = time.monotonic()
    data = dataset if isinstance(dataset, LabelledData) else label_rows(dataset, config, task.kind)
    folder = RunFolder(config.output_dir)
    if accelerator.is_main_process:
        folder.open(config)
    accelerator.wait_for_everyone()
    return run_study(Study(task, data, config, accelerator, folder, tuple(grid)), began)


def run_study(study: Study, began: float) -> CrossValidationResult:
    """Run a study whose folder is open, and write what it found; `began` is when, by the monotonic clock."""
    task, accelerator, folder = study.task, study.accelerator, study.folder
    if accelerator.is_main_process:
        write_table(folder.path / "folds.parquet", study.fold_table())
        # A model or a choice of layers that cannot be had should be known before all rows are encoded.
        for config in study.grid:
            freeze_for(task.build_model(), config)
    study.run()
    accelerator.wait_for_everyone()
    found = study.results()
    best = study.choose(found)
    controls = run_controls(study, best, found[best])
    final, test = refit(study, best, found[best])
    if accelerator.is_main_process:
        seconds = time.monotonic() - began
        made = {"final": final, "test": test, **controls}
        build_results(study, found, best, made=made, seconds=seconds).save(folder.path)
    accelerator.wait_for_everyone()
    return CrossValidationResult.load(folder.path)


def refit(
    study: Study, config: RunConfig, results: Sequence[FoldResult]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Train the model to publish on all rows, and score the untouched test rows if there are any.

    With early stopping, it trains the median of the folds' best epochs.

    Args:
        study: The finished study.
        config: The configuration to train; of a grid, the best.
        results: Of its folds.

    Returns:
        The `final` and the `test` part of results.json.
    """
    if study.config.final == "none":
        return {"kind": "none", "path": None, "num_epochs": None, "num_rows": None}, None
    test = study.of_test_rows()
    if test is not None:
        _ = test.encoded  # by all processes: they wait for each other there
    epochs = final_epochs(results)
    made: dict[str, Any] = {
        "kind": "refit",
        "path": "model",
        "num_epochs": epochs,
        "num_rows": len(study.uids),
    }
    if not study.workers.together and not study.accelerator.is_main_process:
        return made, None
    config = replace(config, num_epochs=epochs, early_stopping=False)
    everything = np.arange(len(study.uids))
    fitted = study.fit(everything, derive_seed(config.seed, "final"), "final model", config=config)
    if study.accelerator.is_main_process:
        _save_model(study.task, fitted, study.folder.path / "model")
        made["sha256"] = weight_digests(study.folder.path / "model")
    return made, None if test is None else test.score_all(fitted)


def _save_model(task: Task, fitted: Fitted, folder: Path) -> None:
    """Write what plain transformers or timm loads; beside its place first, so that it is never half there."""
    beside = folder.with_name(f".{folder.name}.tmp")
    rmtree(beside, ignore_errors=True)
    save_model(fitted.model, beside)
    task.save_processor(beside)
    for file in beside.iterdir():
        file.chmod(0o644)  # safetensors leaves 0600, whatever the umask says
    rmtree(folder, ignore_errors=True)
    beside.rename(folder)
