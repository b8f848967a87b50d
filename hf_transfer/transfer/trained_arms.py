"""Arms that are trained: domain-adversarial features, and least confusion of classes in the target.

Both are linear in the features that they are given, so that what is learned folds into a plain head. No
label of the target chooses any of their settings.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hf_transfer import _guard  # noqa: F401
from hf_transfer.scores.regression import Classifier
from hf_transfer.transfer.arms import Domains, moved

_STEPS, _BATCH = 400, 32
_WIDTH, _HIDDEN = 64, 128  # of the bottleneck, and of what tells domains apart
_RATE, _MOMENTUM, _DECAY = 0.01, 0.9, 1e-3
_TEMPERATURE = 2.5  # of probabilities in which confusion is measured
_SEED = 0


LossOf = Callable[[float, Tensor, Tensor, Tensor], Tensor]
"""Of progress from 0 to 1, source rows, their labels, and target rows."""


def dann(domains: Domains) -> Classifier:
    """Learn a projection in which the domains cannot be told apart, and a head on it.

    What tells domains apart is a network of two layers, whose gradient reaches the projection reversed and
    times 2 / (1 + exp(-10 p)) - 1, for p from 0 to 1 in training.

    References:
        Ganin et al., "Domain-adversarial training of neural networks", JMLR 17, 2016.
    """
    torch.manual_seed(_SEED)
    width = domains.source.shape[1]
    projection, head = nn.Linear(width, _WIDTH, bias=False), nn.Linear(_WIDTH, domains.num_classes)
    teller = domain_teller(_WIDTH)

    def loss_of(progress: float, rows: Tensor, labels: Tensor, others: Tensor) -> Tensor:
        features = projection(torch.cat([rows, others]))
        learned = functional.cross_entropy(head(features[:_BATCH]), labels)
        return learned + told_apart(teller, features, _BATCH, reversal(progress))

    _train(domains, nn.ModuleList([projection, head, teller]), loss_of)
    with torch.no_grad():
        return _folded(domains, head.weight @ projection.weight, head.bias)


def mcc(domains: Domains) -> Classifier:
    """Learn a head whose answers for target rows confuse few pairs of classes.

    References:
        Jin et al., "Minimum class confusion for versatile domain adaptation", ECCV 2020.
    """
    torch.manual_seed(_SEED)
    head = nn.Linear(domains.source.shape[1], domains.num_classes)

    def loss_of(_progress: float, rows: Tensor, labels: Tensor, others: Tensor) -> Tensor:
        return functional.cross_entropy(head(rows), labels) + confusion(head(others))

    _train(domains, head, loss_of)
    with torch.no_grad():
        return _folded(domains, head.weight, head.bias)


def domain_teller(width: int) -> nn.Sequential:
    """A network that tells source from target by features of this width."""
    return nn.Sequential(nn.Linear(width, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, 1))


def told_apart(teller: nn.Module, features: Tensor, num_source: int, scale: float) -> Tensor:
    """Loss of telling the domains apart, whose gradient reaches the features reversed.

    Args:
        teller: What `domain_teller` gives.
        features: Of rows of the source, then of the target, (b, d).
        num_source: How many are of the source.
        scale: What the reversed gradient is multiplied by.
    """
    told = teller(_Reversed.apply(features, scale))
    is_source = (torch.arange(len(features), device=features.device) < num_source).float()[:, None]
    return functional.binary_cross_entropy_with_logits(told, is_source)


def reversal(progress: float) -> float:
    """What the reversed gradient is multiplied by, from 0 to 1."""
    return float(2 / (1 + np.exp(-10 * progress)) - 1)


def confusion(logits: Tensor) -> Tensor:
    """Share of what is said for a class that is said for others at the same time; sure rows count more."""
    shares = functional.softmax(logits / _TEMPERATURE, dim=1)
    entropy = -(shares * shares.clamp(min=1e-12).log()).sum(dim=1)
    weights = (1 + torch.exp(-entropy)).detach()
    weights = weights * len(weights) / weights.sum()
    table = (shares * weights[:, None]).T @ shares
    table = table / table.sum(dim=1, keepdim=True)
    return (table.sum() - table.trace()) / len(table)


class _Reversed(torch.autograd.Function):
    """The identity, whose gradient is reversed and scaled."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.scale * gradient, None


def _train(domains: Domains, model: nn.Module, loss_of: LossOf) -> None:
    """Train by SGD on batches of both domains, at the rate that DANN was published with."""
    (mean, spread), _ = domains.moments
    source, target = (
        torch.from_numpy(((part - mean) / spread).astype(np.float32))
        for part in (domains.source, domains.target)
    )
    labels = torch.from_numpy(domains.labels)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=_RATE, momentum=_MOMENTUM, weight_decay=_DECAY, nesterov=True
    )
    for step in range(_STEPS):
        progress = step / _STEPS
        rows = torch.randint(len(source), (_BATCH,))
        others = torch.randint(len(target), (_BATCH,))
        loss = loss_of(progress, source[rows], labels[rows], target[others])
        optimizer.param_groups[0]["lr"] = _RATE / (1 + 10 * progress) ** 0.75
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _folded(domains: Domains, weight: Tensor, bias: Tensor) -> Classifier:
    """The head for features as they are."""
    (mean, spread), _ = domains.moments
    return moved(Classifier(weight.double().numpy(), bias.double().numpy()), 1 / spread, -mean / spread)
