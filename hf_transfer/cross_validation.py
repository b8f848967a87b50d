"""Score a configuration on a task by cross-validation, and train the model to publish."""

import time
from typing import TYPE_CHECKING

from accelerate import Accelerator

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config import RunConfig
from hf_transfer.data import LabelledData, label_rows
from hf_transfer.final_model import make_final
from hf_transfer.results import CrossValidationResult, write_table
from hf_transfer.run_folder import RunFolder
from hf_transfer.schedule import freeze_for
from hf_transfer.sealing import seal_rows
from hf_transfer.study import Study
from hf_transfer.summary import build_results
from hf_transfer.tasks.base import Task
from hf_transfer.workers import make_accelerator

if TYPE_CHECKING:
    from datasets import Dataset


def cross_validate(
    task: Task,
    dataset: "Dataset | LabelledData",
    config: RunConfig,
    *,
    accelerator: Accelerator | None = None,
) -> CrossValidationResult:
    """Score `config` on `task` by k-fold cross-validation, and make the model to publish.

    Everything is written to `config.output_dir` as it is found. Called again with the same
    arguments, it goes on where it stopped.

    Args:
        task: What to learn.
        dataset: Labelled rows, from `open_dataset` or any `datasets.Dataset`. Keep test rows out.
        config: How to learn.
        accelerator: Where to run; made from the launcher's environment when not given.

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
    study = Study(task, seal_rows(task, data, config), config, accelerator, folder)
    if accelerator.is_main_process:
        write_table(folder.path / "folds.parquet", study.fold_table())
        # A model or a choice of layers that cannot be had should be known before all rows are encoded.
        freeze_for(task.build_model(), config)
    study.run()
    accelerator.wait_for_everyone()
    found = study.results()
    best = study.best(found)
    final, test = make_final(study, best, found[best])
    if accelerator.is_main_process:
        seconds = time.monotonic() - began
        build_results(study, found, best, final=final, test=test, seconds=seconds).save(folder.path)
    accelerator.wait_for_everyone()
    return CrossValidationResult.load(folder.path)
