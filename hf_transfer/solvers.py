"""Heads in closed form: the output layer solved from the features of all training rows at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.batches import Batches, Positions
from hf_transfer.config import RunConfig
from hf_transfer.regression import Classifier, LinearProblem
from hf_transfer.schedule import output_layer
from hf_transfer.tasks.base import IGNORE_INDEX

_DROPPED = 0.1  # variance that the usual dropout of 0.1 adds, as a share of the squared mean

# Strengths of the L2 penalty to choose from: with about as many rows as features, a weak one fits noise.
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


@dataclass(frozen=True)
class LayerInputs:
    """What enters a model's output layer for every labelled item (row or token) of some encoded rows.

    Attributes:
        features: (n, d).
        labels: (n,).
        positions: The encoded row of each item, (n,).
        num_classes: Outputs of the layer.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    positions: Positions
    num_classes: int

    def problem(self, train: Positions, config: RunConfig) -> LinearProblem:
        """What is to be solved from the items of some rows."""
        items = np.flatnonzero(np.isin(self.positions, train))
        balanced = config.class_weights == "balanced"
        return LinearProblem(
            self.features[items], self.labels[items], self.num_classes, config.head_solver, balanced
        )


def layer_inputs(model: nn.Module, batches: Batches, positions: Positions) -> LayerInputs:
    """Pass some encoded rows through a model, and keep what enters its output layer."""
    _, layer = output_layer(model)
    rows: list[Tensor] = []
    labels: list[Tensor] = []
    owners: list[Positions] = []
    hook = layer.register_forward_pre_hook(lambda _, args: rows.append(args[0].detach()))
    learner = batches.learner(model).eval()
    try:
        with torch.no_grad():
            for part in batches.by_size(positions):
                batch = batches.collate(part)
                target = batch.pop("labels")
                learner(**batch)
                counted = target.flatten() != IGNORE_INDEX
                rows[-1] = rows[-1].flatten(0, -2)[counted].float().cpu()
                labels.append(target.flatten()[counted].cpu())
                owners.append(np.repeat(part, target[0].numel())[counted.cpu().numpy()])
    finally:
        hook.remove()
    features, found = torch.cat(rows).numpy(), torch.cat(labels).numpy()
    return LayerInputs(features, found, np.concatenate(owners), layer.out_features)


def solve_layers(inputs: LayerInputs, train: Positions, configs: Sequence[RunConfig]) -> list[Classifier]:
    """The output layers of some configurations, which differ in the strength of the penalty only."""
    found = inputs.problem(train, configs[0]).solve([config.weight_decay for config in configs])
    return [found[config.weight_decay] for config in configs]


def set_layer(layer: nn.Linear, solved: Classifier) -> None:
    """Give a layer the weights of a classifier."""
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(solved.weight))
        layer.bias.copy_(torch.from_numpy(solved.bias))


def solve_output_layer(model: nn.Module, batches: Batches, train: Positions, config: RunConfig) -> None:
    """Set a model's output layer to the optimum for its training rows.

    Features are standardised by their mean and deviation in the training rows, which is then folded
    into the layer's weights, so that the model needs nothing beside itself.

    Args:
        model: In which only the output layer learns.
        batches: Of the encoded rows.
        train: Positions to learn from.
        config: Of which `head_solver` (`lbfgs` minimises the cross-entropy, `ridge` the squared
            error against 1 and -1), `weight_decay` (strength of the L2 penalty against the mean
            loss of a row) and `class_weights` are used.
    """
    inputs = layer_inputs(model, batches, train)
    set_layer(output_layer(model)[1], solve_layers(inputs, train, [config])[0])


def start_output_layer(model: nn.Module, batches: Batches, train: Positions, config: RunConfig) -> None:
    """Solve the output layer of a model that will then be trained, with dropout.

    The strength of the penalty is chosen by every fifth labelled item.
    """
    inputs = layer_inputs(model, batches, train)
    problem = LinearProblem(
        inputs.features,
        inputs.labels,
        inputs.num_classes,
        "lbfgs",
        config.class_weights == "balanced",
        _DROPPED,
    )
    fifth = np.arange(len(inputs.labels)) % 5 == 0
    strength = problem.choose(STRENGTHS, [(np.flatnonzero(~fifth), np.flatnonzero(fifth))])
    set_layer(output_layer(model)[1], problem.solve([strength])[strength])
