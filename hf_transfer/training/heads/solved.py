"""Solve the heads of many folds and penalties from one feature matrix."""

from collections.abc import Iterator, Sequence

import numpy as np

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.layers.freezing import frozen_hash
from hf_transfer.layers.output import output_layer
from hf_transfer.training.column_scale import column_scale
from hf_transfer.training.heads.solvers import layer_inputs, set_layer, solve_layers
from hf_transfer.training.heads.template import Rows, Template
from hf_transfer.training.job import Fitted
from hf_transfer.training.start import start_hash


def solve_heads(
    template: Template, configs: Sequence[RunConfig], folds: Sequence[Rows]
) -> Iterator[tuple[int, int, Fitted]]:
    """Solve a head for every configuration and fold, equal to `fit`'s up to rounding.

    The configurations may differ in their weight decay only. What enters the output layer is gathered
    once for all rows, and the penalties of a fold are solved one after the other, each from the last.

    Args:
        template: From `heads_together`.
        configs: The penalties to try.
        folds: The rows of each fold.

    Yields:
        Position of the configuration, position of the fold, and the trained model, which is the same
        object each time: use it before going on.
    """
    model = template.model
    rows = np.unique(np.concatenate([fold.train for fold in folds]))
    inputs = layer_inputs(model, template.batches, rows)
    hashes = {"hash_before": template.frozen_hash, "start_hash": start_hash(model, configs[0])}
    _, layer = output_layer(model)
    for fold, fold_rows in enumerate(folds):
        scale = column_scale(template.batches, fold_rows.train)
        solutions = solve_layers(inputs.at(scale), fold_rows.train, configs, fold_rows.splits)
        for config, (strength, solved) in enumerate(solutions):
            set_layer(layer, solved)
            if scale:
                scale.fold(model)
            if "hash_after" not in hashes:
                hashes["hash_after"] = frozen_hash(model, template.freezing)
            yield config, fold, template.fitted(best_epoch=1, strength=strength, **hashes)
