"""Solve the output layer in closed form, from the features of all training rows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.config.setting import is_auto
from hf_transfer.layers.output import output_layer
from hf_transfer.machine.memory import in_parts
from hf_transfer.replay.batching import Batches, Positions
from hf_transfer.scores.regression import Classifier, LinearProblem, Split
from hf_transfer.tasks.targets.target import Target
from hf_transfer.training.column_scale import ColumnScale, column_scale

_DROPPED = 0.1  # variance that the usual dropout of 0.1 adds, as a share of the squared mean

# Strengths of the L2 penalty to choose from: with about as many rows as features, a weak one fits noise.
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)

# The same against the sum of the losses and inverted, as scikit-learn's C: for a head that is kept.
INVERSES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0)


@dataclass(frozen=True)
class LayerInputs:
    """Inputs of a model's output layer for every labelled item (row or token).

    Attributes:
        features: (n, d).
        labels: (n, …), as the target's `items` gives them.
        positions: The encoded row of each item, (n,).
        target: Says what is solved.
    """

    features: NDArray[np.float32]
    labels: NDArray[Any]
    positions: Positions
    target: Target

    def problem(self, train: Positions, config: RunConfig) -> LinearProblem:
        """The linear problem of some rows' items."""
        items = np.flatnonzero(np.isin(self.positions, train))
        options = {"solver": config.head_solver, "balanced": config.class_weights == "balanced"}
        return self.target.linear_problem(self.features[items], self.labels[items], **options)

    def at(self, scale: ColumnScale | None) -> "LayerInputs":
        """The same with the columns of a table at a scale."""
        if scale is None:
            return self
        features = torch.from_numpy(self.features).to(scale.mean.device)
        return replace(self, features=scale(features).cpu().numpy())

    def places(self, train: Positions, some: Positions) -> NDArray[np.int64]:
        """Indices of some rows' items among those of the training rows."""
        return np.flatnonzero(np.isin(self.positions[np.isin(self.positions, train)], some))


def layer_inputs(model: nn.Module, batches: Batches, positions: Positions) -> LayerInputs:
    """Run a model over encoded rows, and collect the inputs of its output layer."""
    _, layer = output_layer(model)
    target = batches.task.target
    entered: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, args: entered.append(args[0].detach()))
    learner = batches.learner(model).eval()

    def run(part: Positions) -> tuple[Tensor, Tensor, Positions]:
        entered.clear()
        batch = batches.collate(part)
        given, counted = target.items(batch.pop("labels"))
        learner(**batch)
        owners = np.repeat(part, len(counted) // len(part))[counted.cpu().numpy()]
        return entered.pop().flatten(0, -2)[counted].float().cpu(), given[counted].cpu(), owners

    try:
        with torch.no_grad():
            parts = in_parts(run, batches.by_size(positions), "as the output layer's inputs were computed")
            rows, labels, owners = zip(*(found for _, found in parts), strict=True)
    finally:
        hook.remove()
    return LayerInputs(torch.cat(rows).numpy(), torch.cat(labels).numpy(), np.concatenate(owners), target)


def solve_layers(
    inputs: LayerInputs, train: Positions, configs: Sequence[RunConfig], splits: Sequence[Split] = ()
) -> list[tuple[float, Classifier]]:
    """Solve the output layer for several configurations; return each with its penalty.

    Args:
        inputs: Of at least the training rows.
        train: Positions to learn from.
        configs: They differ in `weight_decay` only.
        splits: Parts of `train` to learn from and to choose the strength by, where `weight_decay` is `auto`;
            without them, every fifth item chooses.
    """
    problem = inputs.problem(train, configs[0])
    strengths = [config.weight_decay for config in configs]
    if is_auto(configs[0].weight_decay):
        parts = [(inputs.places(train, learn), inputs.places(train, check)) for learn, check in splits]
        parts = parts or [every_fifth(len(problem.labels))]
        strengths = [problem.choose([1 / (c * len(problem.labels)) for c in INVERSES], parts)] * len(configs)
    solutions = problem.solve(list(dict.fromkeys(strengths)))
    return [(strength, solutions[strength]) for strength in strengths]


def every_fifth(num_items: int) -> Split:
    """Split items into four fifths to learn from, and one fifth to choose by."""
    fifth = np.arange(num_items) % 5 == 0
    return np.flatnonzero(~fifth), np.flatnonzero(fifth)


def set_layer(layer: nn.Linear, solved: Classifier) -> None:
    """Copy a classifier's weights into a layer."""
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(solved.weight))
        layer.bias.copy_(torch.from_numpy(solved.bias))


def solve_output_layer(
    model: nn.Module, batches: Batches, train: Positions, config: RunConfig, splits: Sequence[Split] = ()
) -> float:
    """Set a model's output layer to the optimum for its training rows.

    Features are standardised by their mean and deviation in the training rows, which is then folded
    into the layer's weights, so that the model needs nothing beside itself.

    Args:
        model: In which only the output layer learns.
        batches: Of the encoded rows.
        train: Positions to learn from.
        config: Of which `head_solver` (`lbfgs` minimises the cross-entropy, `ridge` the squared error,
            of classes against 1 and -1), `weight_decay` (strength of the L2 penalty against the mean
            loss of a row) and `class_weights` are used.
        splits: Parts of `train` to learn from and to choose the strength by, instead of `weight_decay`.

    Returns:
        The strength of the penalty.
    """
    scale = column_scale(batches, train)
    inputs = layer_inputs(model, batches, train).at(scale)
    ((strength, solved),) = solve_layers(inputs, train, [config], splits)
    set_layer(output_layer(model)[1], solved)
    if scale:
        scale.fold(model)
    return strength


def start_output_layer(model: nn.Module, batches: Batches, train: Positions, config: RunConfig) -> None:
    """Solve the output layer of a model that is then trained with dropout.

    The strength of the penalty is chosen by every fifth labelled item.
    """
    inputs = layer_inputs(model, batches, train).at(column_scale(batches, train))  # as it goes on learning
    options = {"solver": inputs.target.solvers[0], "balanced": config.class_weights == "balanced"}
    problem = inputs.target.linear_problem(inputs.features, inputs.labels, **options, dropped=_DROPPED)
    strength = problem.choose(STRENGTHS, [every_fifth(len(inputs.labels))])
    set_layer(output_layer(model)[1], problem.solve([strength])[strength])
