"""Estimate how long a run takes, from a few timed updates."""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import RunError
from hf_transfer.machine.devices import placed
from hf_transfer.machine.memory import in_parts
from hf_transfer.machine.wording import count, duration
from hf_transfer.replay.batching import Positions
from hf_transfer.study.experiment import Unit
from hf_transfer.training.fitting import fit
from hf_transfer.training.job import Job
from hf_transfer.training.workers import Workers

if TYPE_CHECKING:
    from hf_transfer.study.fold_runner import FoldRunner

_TIMED_UPDATES = 3
_TIMED_ROWS = 16  # of the forward pass
_WORTH_TIMING = 30  # updates for each that is timed: the estimate may cost a tenth
_WITH_INNER = 3  # trainings in one whose share is chosen: three inner folds of two thirds, and itself
_QUICK_SELF_COST = 10.0  # seconds that a frozen run takes beside its one pass: encoding, heads, the card


def say_duration(runner: "FoldRunner", units: Sequence[Unit]) -> None:
    """Print an estimate for the remaining trainings, also for a frozen backbone.

    Args:
        runner: Of the folds.
        units: Those that are left.
    """
    experiment, accelerator = runner.experiment, runner.accelerator
    # Heads alone take seconds, all of them together.
    configs = list(dict.fromkeys(unit.config for unit in units if unit.config.trainable != "head"))
    if runner.workers.together or not accelerator.is_main_process or not configs:
        return
    shares = [sum(unit.config == config for unit in units) for config in configs]
    updates = [_updates(runner, config, units[0]) for config in configs]
    if (
        sum(many * share for many, share in zip(updates, shares, strict=True))
        < _WORTH_TIMING * _TIMED_UPDATES
    ):
        return
    try:
        each = training_seconds(runner, configs, units[0])
    except RunError:
        return  # the training itself will say it, with the fold that it is in
    processes = accelerator.num_processes
    total = sum(one * share for one, share in zip(each, shares, strict=True)) / processes
    final = "" if experiment.config.final != "refit" else ", and the final model"
    total += max(each) if final else 0
    quick = forward_seconds(runner) * len(experiment.uids) + _QUICK_SELF_COST
    frozen = experiment.task.base.has_weights and not experiment.config.from_scratch
    faster = (
        ""
        if quick > total or not frozen
        else f" --preset quick, on a frozen backbone, would take about {duration(quick)}."
    )
    print(f"About {duration(total)}: {len(units)} trainings{final}.{faster}", file=sys.stderr)


def _updates(runner: "FoldRunner", config: RunConfig, unit: Unit) -> int:
    """Updates of a training on as many rows as a fold has."""
    rows = len(runner.experiment.train_rows(unit))
    return int(config.num_epochs) * math.ceil(rows / config.batch_size)


def training_seconds(runner: "FoldRunner", configs: Sequence[RunConfig], unit: Unit) -> list[float]:
    """Predict the seconds of one training of each configuration, from a few timed updates.

    Heads alone take seconds, all of them together, which are those of one forward pass of all rows.

    Args:
        runner: Of the folds.
        configs: What to train.
        unit: A fold of the size of all.
    """
    return [
        forward_seconds(runner) * len(runner.experiment.uids)
        if config.trainable == "head"
        else _seconds_an_update(runner, config)
        * _updates(runner, config, unit)
        * (_WITH_INNER if len(config.wise_shares) > 1 else 1)
        for config in configs
    ]


def predicted_words(runner: "FoldRunner", units: Sequence[Unit]) -> str:
    """What some folds and the final model will take here, in a sentence."""
    if not units:
        return "All folds are there. Nothing is left to train but, perhaps, the final model."
    configs = list(dict.fromkeys(unit.config for unit in units))
    each = dict(zip(configs, training_seconds(runner, configs, units[0]), strict=True))
    total = sum_of_trainings(each, units, final=runner.experiment.config.final == "refit")
    return f"About {duration(total)} on this machine: {count(len(units), 'training')} and the final model."


def sum_of_trainings(each: Mapping[RunConfig, float], units: Sequence[Unit], *, final: bool) -> float:
    """Seconds of all trainings one after another; those of heads alone are one, as they share a pass."""
    together = {config for config in each if config.trainable == "head"}
    single = sum(each[unit.config] for unit in units if unit.config not in together)
    return single + sum(each[config] for config in together) + (max(each.values()) if final else 0.0)


def _seconds_an_update(runner: "FoldRunner", config: RunConfig) -> float:
    """Time the first updates of a throw-away training."""
    experiment = runner.experiment
    unit = experiment.units_of(config)[0] if config in experiment.grid else experiment.units[0]
    rows = experiment.train_rows(unit)
    timed_rows = rows[
        np.linspace(0, len(rows) - 1, min(len(rows), _TIMED_UPDATES * config.batch_size)).astype(int)
    ]
    short = replace(config, num_epochs=1, early_stopping=False, schedule="constant")
    workers = Workers(runner.accelerator, together=False)
    job = Job(experiment.task, runner.replay, short, unit.seed, workers, "timing")
    fitted = fit(job, runner.replay.plain.positions_of(timed_rows))
    return float(fitted.history[0]["seconds"]) / math.ceil(len(timed_rows) / config.batch_size)


def forward_seconds(runner: "FoldRunner") -> float:
    """Seconds of a forward pass a row."""
    batches = runner.replay.plain
    positions = np.linspace(0, len(batches.sizes) - 1, min(_TIMED_ROWS, len(batches.sizes))).astype(np.int64)
    learner = batches.learner(placed(runner.experiment.task.build_model(), runner.accelerator.device).eval())

    def timed(part: Positions) -> float:
        inputs = {name: tensor for name, tensor in batches.collate(part).items() if name != "labels"}
        seconds = []
        for _ in range(4):  # the first warms up, and of the others the quickest was disturbed the least
            began = time.perf_counter()
            learner(**inputs).sum().item()  # which waits for a device
            seconds.append(time.perf_counter() - began)
        return min(seconds)

    with torch.inference_mode(), runner.accelerator.autocast():
        parts = in_parts(timed, batches.by_size(positions), "as a forward pass was timed")
        return sum(seconds for _, seconds in parts) / len(positions)
