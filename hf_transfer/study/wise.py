"""Choose how much of the fine-tuning to keep, by inner folds; score both ends and what lies between.

The share of a fold is chosen on inner folds of its training rows. Both ends, and some shares between, read
the held-out rows once more, each under a purpose of its own, and nothing is chosen by that.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ConfigError
from hf_transfer.folds import inner_folds
from hf_transfer.layers import trained_hash
from hf_transfer.layers.output import output_layer
from hf_transfer.layers.phases import freeze_for
from hf_transfer.runs.records import WiseTest
from hf_transfer.runs.run_folder import CHECKPOINT
from hf_transfer.runs.share import Wise
from hf_transfer.runs.wise import ENDS, FOLDERS, share_place, wise_part
from hf_transfer.training.job import Fitted
from hf_transfer.training.predicting import predict
from hf_transfer.training.wise import average, best_share, losses_between

if TYPE_CHECKING:
    from hf_transfer.runs.fold_result import FoldResult
    from hf_transfer.study.experiment import Experiment, RowNumbers, Unit
    from hf_transfer.study.fold_runner import FoldRunner
    from hf_transfer.study.study import Study


def check_wise(experiment: "Experiment", model: nn.Module) -> None:
    """Refuse averaging where there are no pretrained weights, or where none of them learn.

    Raises:
        ConfigError: Saying what to leave out.
        LayerSelectionError: If the model has no output layer to solve first.
    """
    asked = [config for config in experiment.grid if config.wise]
    if not asked:
        return
    output_layer(model)
    if experiment.task.lacking:
        raise ConfigError("wise averages a head without table columns. Leave table_columns or wise out.")
    name = experiment.task.base.name
    if not experiment.task.base.has_weights:
        raise ConfigError(f"wise averages with pretrained weights, and {name} has none. Leave it out.")
    for config in asked:
        freezing = freeze_for(model, config)
        if freezing.trainable <= set(freezing.groups[-1].parameters):
            raise ConfigError(
                f"wise averages what learns below the head, and trainable={config.trainable!r} lets nothing "
                f"learn there in {name}. Leave one out."
            )


def choose_share(
    runner: "FoldRunner", rows: "RowNumbers", seed: int, title: str, *, config: RunConfig, folder: Path
) -> Wise | None:
    """Choose a share of the fine-tuned weights by inner folds of some rows; None without `wise`.

    Takes the arguments of `FoldRunner.fit`.
    """
    shares = config.wise_shares
    if len(shares) < 2:
        return Wise(shares[0]) if shares else None
    experiment = runner.experiment
    splits = inner_folds(rows, experiment.uids, seed=seed, columns=experiment.columns, scheme=config.scheme)
    losses = np.zeros(len(shares))
    for number, (learn, check) in enumerate(splits, start=1):
        # Within the fold's own, which is deleted when the fold is done: until then each is resumed.
        inside = folder / CHECKPOINT / f"inner-{number}"
        called = f"{title}, inner {number} of {len(splits)}"
        fitted = runner.fit_plain(learn, seed, called, config=config, folder=inside)
        found = losses_between(fitted, shares, runner.replay.plain.positions_of(check), runner.workers)
        losses += np.array(found) * len(check) / sum(len(some) for _, some in splits)
    return Wise(best_share(shares, losses.tolist()), list(shares), [*losses.tolist()])


def share_units(units: Sequence["Unit"]) -> "dict[float, list[Unit]]":
    """Units of every share of some folds: the same rows, read for another purpose each."""
    return {share: [_share_unit(unit, share) for unit in units] for share in FOLDERS}


def _share_unit(unit: "Unit", share: float) -> "Unit":
    names = {end: name for name, end in ENDS.items()}
    purpose = names.get(share, f"share {share:g}")
    return replace(unit, place=share_place(unit.place, share), purpose=purpose)


def keep_shares(runner: "FoldRunner", unit: "Unit", fitted: Fitted) -> None:
    """Score each share on a fold's held-out rows, and let the model be what it was; not for control runs."""
    if fitted.ends is None or unit.purpose != "score":
        return
    averaged, rows = fitted.weights(), runner.experiment.valid_rows(unit)
    for share in FOLDERS:
        average(fitted, share)
        positions = fitted.batches.positions_of(rows)
        outputs = predict(fitted.learner, fitted.batches, positions, runner.workers)
        if runner.workers.rank == 0:
            weights = trained_hash(fitted.model, fitted.freezing)
            runner.keep_outputs(_share_unit(unit, share), outputs, weights)
    fitted.load(averaged)


def wise_test(study: "Study", config: RunConfig, results: Sequence["FoldResult"]) -> WiseTest | None:
    """Test the averaged models against both ends, on the folds of a configuration; None without `wise`."""
    pairs = zip(study.experiment.units_of(config), results, strict=True)
    done = [(unit, result) for unit, result in pairs if result.status == "done" and result.wise]
    if not done:
        return None
    units, folds = [unit for unit, _ in done], [result for _, result in done]
    by_share = share_units(units)
    if not all(study.runner.finished(unit) for some in by_share.values() for unit in some):
        by_share = {share: by_share[share] for share in ENDS.values()}  # folds of an earlier version
    scored = {
        share: (study.results_of(some), study.predictions_of(some, folds)) for share, some in by_share.items()
    }
    target = study.experiment.task.target
    return wise_part(scored, (folds, study.predictions_of(units, folds)), target, seed=config.seed)
