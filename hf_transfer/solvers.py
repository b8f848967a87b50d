"""Heads in closed form: the output layer solved from the features of all training rows at once."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.batches import Batches, Positions
from hf_transfer.config import RunConfig
from hf_transfer.schedule import output_layer
from hf_transfer.tasks.base import IGNORE_INDEX

_MOST_STEPS = 2000
_EXACT, _NEAR_ENOUGH = 1e-6, 1e-3  # of the gradient: of a head that is kept, and of one to choose by

_NOISE = 1e-5  # a feature that varies by less of its mean holds rounding errors only
_DROPPED = 0.1  # variance that the usual dropout of 0.1 adds, as a share of the squared mean

Matrix = NDArray[np.float64]


# Strengths of the L2 penalty to choose from: with about as many rows as features, a weak one fits noise.
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


def solve_output_layer(
    model: nn.Module, batches: Batches, train: Positions, config: RunConfig, *, tuned: bool = False
) -> bool:
    """Set a model's output layer to the optimum for its training rows; gives whether it got there.

    Features are standardised by their mean and deviation in the training rows, which is then folded
    into the layer's weights, so that the model needs nothing beside itself.

    Args:
        model: In which only the output layer learns.
        batches: Of the encoded rows.
        train: Positions to learn from.
        config: Of which `head_solver` (`lbfgs` minimises the cross-entropy, `ridge` the squared
            error against 1 and -1), `weight_decay` (strength of the L2 penalty against the mean
            loss of a row) and `class_weights` are used.
        tuned: Choose the strength of the penalty by every fifth labelled item instead.
    """
    _, layer = output_layer(model)
    features, labels = _features(model, layer, batches, train)
    middle, spread = features.mean(0), features.std(0)
    spread[spread <= _NOISE * np.abs(middle) + 1e-8] = 1.0
    if tuned:  # the head will train with dropout, which moves a feature by a share of its own size
        spread = np.sqrt(spread**2 + _DROPPED * middle**2)
    features = (features - middle) / spread
    if tuned:
        config = replace(config, weight_decay=_tuned(features, labels, layer.out_features, config))
    solve = _ridge if config.head_solver == "ridge" else _logistic
    weight, bias, solved = solve(features, labels, layer.out_features, config)
    weight = weight / spread
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias - weight @ middle))
    return solved


def _features(model: nn.Module, layer: nn.Linear, batches: Batches, train: Positions) -> tuple[Matrix, Any]:
    """What enters the output layer for every labelled item, (n, d), and the labels, (n,)."""
    rows: list[Tensor] = []
    labels: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, args: rows.append(args[0].detach()))
    learner = batches.learner(model).eval()
    try:
        with torch.no_grad():
            for part in batches.by_size(train):
                batch = batches.collate(part)
                target = batch.pop("labels").flatten()
                learner(**batch)
                counted = target != IGNORE_INDEX
                rows[-1] = rows[-1].flatten(0, -2)[counted].float().cpu()
                labels.append(target[counted].cpu())
    finally:
        hook.remove()
    return torch.cat(rows).double().numpy(), torch.cat(labels).numpy()


def _tuned(features: Matrix, labels: Any, num: int, config: RunConfig) -> float:
    """The strength with the lowest cross-entropy on every fifth item, of a head solved on the others."""
    held_out = np.arange(len(labels)) % 5 == 0
    learn, learn_labels, others = features[~held_out], labels[~held_out], features[held_out]
    losses: dict[float, float] = {}
    solution = None
    for strength in sorted(STRENGTHS, reverse=True):  # each starts where a stronger penalty has led
        settings = replace(config, weight_decay=strength)
        weight, bias, solution = _regress(learn, learn_labels, num, settings, _NEAR_ENOUGH, solution)
        logp = log_softmax(others @ weight.T + bias, axis=1)
        losses[strength] = float(-logp[np.arange(len(logp)), labels[held_out]].mean())
    return min(STRENGTHS, key=losses.__getitem__)


def _logistic(features: Matrix, labels: Any, num: int, config: RunConfig) -> tuple[Matrix, Matrix, bool]:
    weight, bias, found = _regress(features, labels, num, config, _EXACT)
    return weight, bias, found is None or max(found.n_iter_) < _MOST_STEPS


def _regress(
    features: Matrix, labels: Any, num: int, config: RunConfig, tolerance: float, start: Any = None
) -> tuple[Matrix, Matrix, Any]:
    """Weight and bias of a logistic regression, and it itself, from which another strength can start."""
    from sklearn.linear_model import LogisticRegression

    present = np.unique(labels)
    if len(present) == 1:  # nothing to separate
        return *_spread_over(np.zeros((1, features.shape[1])), np.zeros(1), present, num, len(labels)), None
    # scikit-learn minimises C times the sum of losses plus half the squared norm.
    strength = np.inf if config.weight_decay == 0 else 1 / (config.weight_decay * len(labels))
    weights = "balanced" if config.class_weights == "balanced" else None
    found = start or LogisticRegression(class_weight=weights, max_iter=_MOST_STEPS, warm_start=True)
    found.set_params(C=strength, tol=tolerance)
    found.fit(features, labels)
    weight, bias = found.coef_, found.intercept_
    if len(present) == 2:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return *_spread_over(weight, bias, present, num, len(labels)), found


def _ridge(features: Matrix, labels: Any, num: int, config: RunConfig) -> tuple[Matrix, Matrix, bool]:
    from sklearn.linear_model import Ridge
    from sklearn.utils.class_weight import compute_sample_weight

    weights = compute_sample_weight("balanced", labels) if config.class_weights == "balanced" else None
    targets = 2.0 * (labels[:, None] == np.arange(num)) - 1
    found = Ridge(alpha=max(config.weight_decay * len(labels), 1e-8)).fit(features, targets, weights)
    return found.coef_, found.intercept_, True


def _spread_over(weight: Matrix, bias: Matrix, present: Any, num: int, rows: int) -> tuple[Matrix, Matrix]:
    """Rows for all classes: one that the training part lacks is as unlikely as one row in all."""
    whole, offsets = np.zeros((num, weight.shape[1])), np.full(num, bias.mean() - np.log(rows))
    whole[present], offsets[present] = weight, bias
    return whole, offsets
