"""Train the heads of several folds and configurations together, step by step."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, vmap

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.replay.batching import Positions
from hf_transfer.training.column_scale import column_scale, of_folds
from hf_transfer.training.epochs import effective_batches, epoch_order, label_weights
from hf_transfer.training.heads.dropout import Dropout
from hf_transfer.training.heads.linear import SharedInputs
from hf_transfer.training.heads.optimizer import StackedOptimizer, State, like
from hf_transfer.training.heads.template import Head, Rows, Template
from hf_transfer.training.optimizer import learning_rate_factor
from hf_transfer.training.scale import label_scale, scaled
from hf_transfer.training.stopping import smoothed


@dataclass
class Stopping:
    """Early stopping of (F, G) heads, with the same rule as `fit`."""

    smooth: Tensor
    best: Tensor
    best_epoch: Tensor
    kept: State = field(default_factory=dict)


class Program:
    """The joint training of the heads of F folds and G configurations; tensors begin with (F, G)."""

    def __init__(self, template: Template, configs: Sequence[RunConfig], folds: Sequence[Rows]) -> None:
        self.template, self.configs, self.folds = template, configs, folds
        self.config, self.device = configs[0], template.device
        self.batches, self.learner = template.batches, template.learner
        starts = [template.start(fold.seed) for fold in folds]
        self.hashes = [(start.frozen_hash, start.whole_hash) for start in starts]
        self.state = self._stack([start.state for start in starts])
        self.dropout = Dropout(self.learner, by_token=template.by_token, states=[s.generator for s in starts])
        self.masks: list[Tensor] = []
        self.steps = [len(effective_batches(fold.train, self.config.batch_size, 1)) for fold in folds]
        self.optimizer = StackedOptimizer(self.state, template.decays, configs, self.steps)
        self.target = template.replay.task.target
        self.weights = self._of_folds(lambda train: label_weights(template.replay, self.config, train))
        self.scales = self._of_folds(lambda train: label_scale(template.model, template.replay, train))
        self.columns = [column_scale(self.batches, fold.train) for fold in folds]
        self.active = torch.ones(len(folds), len(configs), dtype=torch.bool, device=self.device)
        self.learning = np.ones((len(folds), len(configs)), bool)  # the same, for which nobody waits
        self.history: list[dict[str, Any]] = []
        self.stopping = self._stopping()

    @property
    def learned(self) -> list[str]:
        """Names of the trained weights."""
        return list(self.template.learned)

    def train(self, tick: Callable[[], Any]) -> None:
        """Train all heads for all epochs."""
        with self.dropout, SharedInputs(self.learner):
            for epoch in range(1, self.config.num_epochs + 1):
                began = time.monotonic()
                losses, factors = self._epoch(epoch)
                record = {"epoch": epoch, "phase": "all", "train_loss": losses, "factors": factors}
                self.history.append(record | {"inner_loss": self._look(epoch)})
                self.history[-1]["seconds"] = (time.monotonic() - began) / self.active.numel()
                tick()
                self.learning = self.active.cpu().numpy()
                if not self.learning.any():
                    break

    def _epoch(self, epoch: int) -> tuple[Tensor, list[float]]:
        """Train one epoch; return the mean losses, and each fold's last learning rate factor."""
        self.learner.train()
        total = self.steps
        orders = [
            effective_batches(epoch_order(rows.train, rows.seed, epoch), self.config.batch_size, 1)
            for rows in self.folds
        ]
        losses = torch.zeros(len(self.folds), len(self.configs), device=self.device)
        factors = [0.0] * len(self.folds)
        for step in range(max(total)):
            present = [step < count for count in total]
            for fold, here in enumerate(present):
                if here:
                    done, whole = (epoch - 1) * total[fold] + step, total[fold] * self.config.num_epochs
                    factors[fold] = learning_rate_factor(
                        self.config, step=done, total=whole, phase_step=done, phase_total=whole
                    )
            batches = [
                order[step] if here else order[0][:1] for order, here in zip(orders, present, strict=True)
            ]
            losses += self._update(batches, present, factors)
        return losses / torch.tensor(total, device=self.device)[:, None], factors

    def _update(self, rows: Sequence[Positions], present: Sequence[bool], factors: Sequence[float]) -> Tensor:
        """Make one update of every head that still learns; return the losses, 0 for idle heads."""
        features, labels = self._batch(rows)
        learned = {name: self.state[name].detach().requires_grad_() for name in self.learned}
        counts = [len(r) if here else 0 for r, here in zip(rows, present, strict=True)]
        lengths = [int(self.batches.sizes[r].max()) for r in rows]
        self.masks = self.dropout.draw(features, counts, lengths)
        logits = self._forward(self.state | learned, features)
        loss = self._loss(logits, labels)
        gradients = torch.autograd.grad(loss.sum(), list(learned.values()))
        moving = self.learning & np.array(present)[:, None]
        self.optimizer.step(dict(zip(learned, gradients, strict=True)), moving, factors)
        return loss.detach() * torch.from_numpy(moving).to(self.device, non_blocking=True)

    def _batch(self, rows: Sequence[Positions]) -> tuple[Tensor, Tensor]:
        """Features and labels (F, b, …), padded to the longest fold with ignored rows."""
        longest = max(len(r) for r in rows)
        filled = np.concatenate([np.pad(r, (0, longest - len(r)), mode="edge") for r in rows])
        batch, shape = self.batches.collate(filled), (len(rows), longest)
        labels = batch["labels"].reshape(shape + batch["labels"].shape[1:]).clone()
        for fold, own in enumerate(rows):
            labels[fold, len(own) :] = self.target.missing
        features = batch["features"].reshape(shape + batch["features"].shape[1:])
        columns = of_folds(self.columns)
        return columns(features) if columns else features, scaled(labels, self.scales)

    def _forward(self, state: State, features: Tensor) -> Tensor:
        """Compute logits (F, G, b, …, c)."""
        with self.template.replay.accelerator.autocast():
            logits: Tensor = vmap(vmap(self._one, in_dims=(0, None, None)), in_dims=(0, 0, 0))(
                state, features, self.masks
            )
        return logits.float()

    def _one(self, state: State, features: Tensor, masks: list[Tensor]) -> Any:
        self.dropout.use(masks)
        return functional_call(self.learner, state, (features,))

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean loss of each head over the labels of its batch, (F, G)."""
        loss, weight = self.target.head_losses(logits, labels, self.weights, self.config.label_smoothing)
        return loss / weight.clamp(min=1e-12)

    def _of_folds(self, read: Callable[[Positions], Tensor | None]) -> Tensor | None:
        """What is read from the training rows of each fold, (F, …); None where there is nothing."""
        read_values = [read(fold.train) for fold in self.folds]
        known = [values for values in read_values if values is not None]
        return torch.stack(known) if known else None

    def _stopping(self) -> Stopping | None:
        if all(fold.inner is None for fold in self.folds):
            return None
        shape = (len(self.folds), len(self.configs))
        infinite = torch.full(shape, math.inf, device=self.device)
        return Stopping(
            torch.full(shape, math.nan, device=self.device), infinite, torch.zeros(shape, device=self.device)
        )

    def _look(self, epoch: int) -> Tensor | None:
        """Score the inner splits, and stop heads that have not improved for `patience` epochs."""
        stopping = self.stopping
        if stopping is None:
            return None
        loss = torch.stack([self._inner_loss(f, fold.inner) for f, fold in enumerate(self.folds)])
        first = stopping.smooth.isnan()
        smooth = torch.where(first, loss, smoothed(stopping.smooth, loss))
        stopping.smooth = torch.where(self.active, smooth, stopping.smooth)
        better = (stopping.smooth < stopping.best) & self.active
        stopping.best = torch.where(better, stopping.smooth, stopping.best)
        stopping.best_epoch = torch.where(better, epoch, stopping.best_epoch)
        for name in self.learned:
            old = stopping.kept.get(name, self.state[name])
            stopping.kept[name] = torch.where(like(better, old), self.state[name], old)
        self.active = self.active & (epoch - stopping.best_epoch < self.config.patience)
        return loss

    def _inner_loss(self, fold: int, inner: Positions | None) -> Tensor:
        """Mean loss of one fold's heads on its inner split, (G,)."""
        assert inner is not None  # all folds have one, or none
        self.learner.eval()
        state = {name: tensor[fold] for name, tensor in self.state.items()}
        total = torch.zeros(2, len(self.configs), device=self.device)
        with torch.no_grad(), self.template.replay.accelerator.autocast():
            for part in self.batches.by_size(inner):
                batch, columns = self.batches.collate(part), self.columns[fold]
                features = columns(batch["features"]) if columns else batch["features"]
                logits = vmap(lambda own, x: functional_call(self.learner, own, (x,)), in_dims=(0, None))(
                    state, features
                )
                labels = scaled(batch["labels"], None if self.scales is None else self.scales[fold])
                loss, weight = self.target.head_losses(logits[None], labels[None])
                total += torch.stack([loss[0], weight[0].expand_as(loss[0])])
        return total[0] / total[1].clamp(min=1)

    def heads(self) -> Iterator[tuple[int, int, Head]]:
        """Yield every head with finite losses, with its fold and configuration."""
        losses = torch.stack([record["train_loss"] for record in self.history])
        finite = torch.isfinite(losses).all(0)
        for config in range(len(self.configs)):
            for fold in range(len(self.folds)):
                if finite[fold, config]:
                    yield fold, config, self._head(fold, config)

    def _head(self, fold: int, config: int) -> Head:
        last = len(self.history)
        final = self.state
        best = last
        if self.stopping is not None:
            best, final = int(self.stopping.best_epoch[fold, config]), self.state | self.stopping.kept
            last = min(last, best + self.config.patience)
        history = [
            {
                "epoch": record["epoch"],
                "phase": record["phase"],
                "train_loss": float(record["train_loss"][fold, config]),
                "learning_rate": self.configs[config].learning_rate * record["factors"][fold],
                "seconds": record["seconds"],
                "inner_loss": None
                if record["inner_loss"] is None
                else float(record["inner_loss"][fold, config]),
            }
            for record in self.history[:last]
        ]
        state = {name: tensor[fold, config].clone() for name, tensor in final.items()}
        scale = None if self.scales is None else self.scales[fold]
        return Head(state, history, best, *self.hashes[fold], scale, self.columns[fold])

    def _stack(self, starts: Sequence[State]) -> State:
        """Stack the starting weights; the heads of a fold start equal."""
        stacked = {}
        for name in starts[0]:
            tensor = torch.stack([start[name] for start in starts])
            stacked[name] = tensor[:, None].expand(-1, len(self.configs), *tensor.shape[1:]).contiguous()
        return stacked
