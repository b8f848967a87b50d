"""Start a run by the engine that its settings name."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ConfigError
from hf_transfer.machine.collection import no_collection
from hf_transfer.runs.results import CrossValidationResult

if TYPE_CHECKING:
    from accelerate import Accelerator
    from datasets import Dataset

    from hf_transfer.cluster.placing import Placing
    from hf_transfer.data.labelled import LabelledData
    from hf_transfer.study.engine import Engine
    from hf_transfer.tasks.task import Task


def fine_tune(task: "Task", dataset: "Dataset | LabelledData", config: RunConfig) -> CrossValidationResult:
    """Cross-validate a configuration and make the final model; `preset=best` searches first.

    Args:
        task: What to learn.
        dataset: Labelled rows.
        config: How to learn, and by which `engine`; its preset says how much is tried.

    Raises:
        DoneEarlyError: If it was asked for less than a run: `dry_run`, or a `part`.
        TransferError: As `cross_validate` and `search` do.
    """
    from hf_transfer.selection import presets

    config, engine = engine_of(config)
    return presets.fine_tune(task, dataset, config, engine)


def cross_validate(
    task: "Task",
    dataset: "Dataset | LabelledData",
    config: RunConfig,
    *,
    accelerator: "Accelerator | None" = None,
    grid: Sequence[RunConfig] = (),
) -> CrossValidationResult:
    """Score `config` on `task` by k-fold cross-validation, and make the model to publish.

    Everything is written to `config.output_dir` as it is found. Called again with the same
    arguments, it resumes.

    Args:
        task: What to learn.
        dataset: Labelled rows, from `open_dataset` or any `datasets.Dataset`. Keep test rows out.
        config: How to learn, and by which `engine`.
        accelerator: Where to run; made from the launcher's environment when not given.
        grid: Configurations to try under the same folds, where lists in `config` do not say it; they
            differ from it in how to learn only.

    Raises:
        DoneEarlyError: If it was asked for less than a run: `dry_run`, or a `part`.
        TransferError: If a setting, the data or the base model is not usable; or every fold failed.
    """
    with no_collection():
        from hf_transfer.study import cross_validation

    config, engine = engine_of(config)
    return cross_validation.cross_validate(
        task, dataset, config, accelerator=accelerator, grid=grid, engine=engine
    )


def engine_of(config: RunConfig) -> "tuple[RunConfig, Engine | None]":
    """The engine that settings name, None for this process; and the settings by which it runs.

    Raises:
        ConfigError: If it is not installed or not there, or several processes were launched to drive it.
    """
    _check_alone(config)
    if config.engine == "parts":
        with no_collection():
            from hf_transfer.cluster.parts import AllParts, OnePart, part_folder, parts_folder
        if config.part is None:
            return config, AllParts(parts_folder(config.output_dir))
        return replace(config, output_dir=str(part_folder(config.output_dir, config.part))), OnePart(
            config.part
        )
    return config, placing_of(config)


def placing_of(config: RunConfig) -> "Placing | None":
    """The engine by which a verb has features computed: that of a Ray cluster, or None for this process.

    Raises:
        ConfigError: If settings name another, or it is not installed or not there.
    """
    if config.engine == "here":
        return None
    _check_alone(config)
    if config.engine == "parts":
        raise ConfigError(
            "engine='parts' trains the folds of a run in parts, and features have none. Give --engine ray, "
            "or leave it out."
        )
    with no_collection():
        from hf_transfer.cluster.placing import Placing
        from hf_transfer.cluster.ray_carrier import RayCarrier
    return Placing(RayCarrier(config))


def _check_alone(config: RunConfig) -> None:
    """Stop where several processes were launched, each of which would drive the engine."""
    if config.engine != "here" and os.environ.get("WORLD_SIZE", "1") != "1":
        raise ConfigError(
            f"engine={config.engine!r} hands out the work from one process, and {os.environ['WORLD_SIZE']} "
            "were launched. Start it without a launcher."
        )
