"""Fit a model: one Accelerate loop for every task."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hf_transfer import _guard  # noqa: F401
from hf_transfer.batches import Batches, Positions, cut_by_size
from hf_transfer.config import RunConfig
from hf_transfer.errors import RunError
from hf_transfer.folds import derive_seed
from hf_transfer.layers import Freezing, frozen_hash, parameter_groups, tensor_digest
from hf_transfer.models import placed
from hf_transfer.progress import progress_bar
from hf_transfer.replay import Replay
from hf_transfer.schedule import (
    Phase,
    freeze_but_output,
    freeze_for,
    learning_rate_factor,
    make_optimizer,
    phases_of,
)
from hf_transfer.scoring import mean_loss
from hf_transfer.solvers import solve_output_layer
from hf_transfer.tasks.base import IGNORE_INDEX, Task
from hf_transfer.workers import Workers

_CHECK_EVERY = 25  # updates between looks at the loss: a look waits for the device
# What a pass costs on a processor besides its tokens, in tokens: measured 110 for 11 million weights
# and 65 for 86 million. The smaller the layers, the less a token costs beside the pass itself.
_WEIGHTS_A_PASS, _FEWEST_TOKENS = 1e9, 60
_SMOOTHING = 0.5  # of the inner loss from epoch to epoch, before its minimum is taken

Epoch = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """All that one training needs besides its rows: what, how, by whom."""

    task: Task
    replay: Replay
    config: RunConfig
    seed: int
    workers: Workers
    title: str = "training"
    on_epoch: Callable[[Epoch], None] | None = None


@dataclass
class Fitted:
    """A trained model and how it went."""

    model: nn.Module
    freezing: Freezing
    batches: Batches
    history: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0
    hash_before: str | None = None
    hash_after: str | None = None
    start_hash: str | None = None

    @property
    def parameters(self) -> int:
        """Number of parameters that learned."""
        return sum(p.numel() for n, p in self.model.named_parameters() if n in self.freezing.trainable)

    @property
    def learner(self) -> nn.Module:
        """The module that its batches are fed to."""
        return self.batches.learner(self.model)


def fit(job: Job, train: Positions, inner: Positions | None = None) -> Fitted:
    """Train a fresh model; the job's seed alone decides its new weights and the order of rows.

    Args:
        job: Task, rows, settings, seed and processes.
        train: Positions of the encoded rows to learn from.
        inner: Positions of an inner split, by whose loss to stop and to choose the epoch; None
            trains all epochs and keeps the last state. Never the held-out fold.

    Raises:
        RunError: If the loss becomes infinite or NaN.
    """
    model = fresh_model(job.task, job.config, job.seed, job.workers.accelerator.device)
    if job.config.head_start == "probe":
        _start_from_probe(job, model, train)
    freezing = freeze_for(model, job.config)
    fitted = Fitted(model, freezing, job.replay.plain, hash_before=frozen_hash(model, freezing))
    fitted.start_hash = start_hash(model, job.config)
    if job.config.head_solver != "gradient":
        return _solve(job, fitted, train)
    stopper = _Stopper(fitted, job, inner)
    loop = _Loop(job, fitted, train)
    with loop.bar:
        for epoch in loop.epochs():
            epoch["inner_loss"] = stopper.look()
            fitted.history.append(epoch)
            if job.on_epoch:
                job.on_epoch(epoch)
            if stopper.stopped:
                break
    fitted.best_epoch = stopper.finish()
    freeze_for(model, job.config)
    fitted.hash_after = frozen_hash(model, freezing)
    model.eval()
    job.workers.accelerator.free_memory()  # or its lists keep every fold's model alive
    return fitted


def fresh_model(task: Task, config: RunConfig, seed: int, device: torch.device) -> nn.Module:
    """A model to train, on its device.

    Its new weights are drawn from the fold's seed; with `shared_start`, from one that all folds have.
    What is random in the training that follows is the fold's own either way.
    """
    torch.manual_seed(shared_seed(config) if config.shared_start else seed)
    model = placed(task.build_model(), device)
    if config.shared_start:
        torch.manual_seed(seed)
    return model


def shared_seed(config: RunConfig) -> int:
    """The seed of the new weights of all folds, where they share their start."""
    return derive_seed(config.seed, "start")


def start_hash(model: nn.Module, config: RunConfig) -> str | None:
    """Digest of a whole model before training; None where each fold has a start of its own."""
    if not config.shared_start:
        return None
    return tensor_digest(model, [name for name, _ in chain(model.named_parameters(), model.named_buffers())])


def _solve(job: Job, fitted: Fitted, train: Positions) -> Fitted:
    """Solve the head instead of training it: no epochs, and nothing random."""
    fitted.batches = job.replay.batches(fitted.model, fitted.freezing)
    solve_output_layer(fitted.model, fitted.batches, train, job.config)
    fitted.best_epoch = 1
    fitted.hash_after = frozen_hash(fitted.model, fitted.freezing)
    fitted.model.eval()
    return fitted


def _start_from_probe(job: Job, model: nn.Module, train: Positions) -> None:
    """Solve the output layer on what the pretrained layers put out, so that these are not torn apart first.

    References:
        Kumar et al., "Fine-Tuning can Distort Pretrained Features", ICLR 2022,
        https://arxiv.org/abs/2202.10054.
    """
    freezing = freeze_but_output(model, job.config)
    solve_output_layer(model, job.replay.batches(model, freezing), train, job.config, tuned=True)


class _Loop:
    """The epochs of one training, phase by phase."""

    def __init__(self, job: Job, fitted: Fitted, train: Positions) -> None:
        self.job, self.fitted, self.model, self.train = job, fitted, fitted.model, train
        self.phases = phases_of(job.config, fitted.freezing)
        self.steps_per_epoch = len(effective_batches(train, job.config.batch_size, job.workers.size))
        self.total = self.steps_per_epoch * job.config.num_epochs
        self.bar = progress_bar(
            job.title, total=self.total, shown=job.workers.rank == 0, position=job.workers.line
        )
        self.class_weights = class_weights(job.replay, job.config, train)
        self.tokens_a_pass = tokens_a_pass(self.model)
        self.step = 0

    def epochs(self) -> Iterator[Epoch]:
        """Train epoch after epoch; each yields its record."""
        number = 0
        for phase in self.phases:
            freezing = freeze_for(self.model, self.job.config, only=phase.only)
            self.fitted.batches = self.job.replay.batches(self.model, freezing)
            self.by_size = _pads_much(self.job, self.fitted.batches, freezing)
            optimizer = _optimizer(self.model, self.job.config)
            self.prepared, self.optimizer = self.job.workers.prepare(self.fitted.learner, optimizer)
            if self.job.config.compile:
                self.prepared = cast(nn.Module, torch.compile(self.prepared))
            start = self.step
            for _ in range(phase.num_epochs):
                number += 1
                yield self._epoch(number, phase, start)

    def _epoch(self, number: int, phase: Phase, start: int) -> Epoch:
        began, losses = time.monotonic(), []
        self.model.train()
        self.prepared.train()
        shuffled = epoch_order(self.train, self.job.seed, number)
        for batch in effective_batches(shuffled, self.job.config.batch_size, self.job.workers.size):
            rate = self._set_rate(phase, start)
            losses.append(self._update(batch, number))
            self.step += 1
            self.bar.update()
            if self.step % _CHECK_EVERY == 0 or len(losses) == self.steps_per_epoch:
                self._check(losses, number)
        mean = torch.stack(losses).mean().item()
        self.bar.set_postfix(epoch=number, loss=f"{mean:.3f}", refresh=False)
        seconds = time.monotonic() - began
        return {
            "epoch": number,
            "phase": phase.name,
            "train_loss": mean,
            "learning_rate": rate,
            "seconds": seconds,
        }

    def _update(self, batch: Positions, epoch: int) -> Tensor:
        """One step of the optimizer on this effective batch; gives its mean loss."""
        accelerator = self.job.workers.accelerator
        pieces = [self._collate(piece, epoch) for piece in self._pieces(batch)]
        # The mean is over the whole effective batch, however it is cut over processes and steps.
        weight = sum(
            (self._weight(piece["labels"]) for piece in pieces), torch.zeros((), device=accelerator.device)
        )
        weight = self.job.workers.total(weight).clamp(min=1e-12)
        loss = torch.zeros((), device=accelerator.device)
        for i, piece in enumerate(pieces):
            waits = self.job.workers.together and i + 1 < len(pieces)
            with accelerator.no_sync(self.prepared) if waits else nullcontext():
                part = self._loss(piece) / weight
                accelerator.backward(part * self.job.workers.size)
            loss += part.detach()
        if self.job.config.max_grad_norm:
            accelerator.clip_grad_norm_(
                [p for p in self.model.parameters() if p.requires_grad], self.job.config.max_grad_norm
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        return self.job.workers.total(loss)

    def _pieces(self, batch: Positions) -> list[Positions]:
        """This process's part of an effective batch, in steps that fit."""
        pieces = _shares(batch, self.job)
        if not self.by_size:
            return pieces
        sizes = self.fitted.batches.sizes
        cut = [(piece, cut_by_size(sizes[piece], self.tokens_a_pass)) for piece in pieces]
        # What stays whole keeps its order, and so its draws of dropout.
        return [piece[part] if len(parts) > 1 else piece for piece, parts in cut for part in parts]

    def _collate(self, positions: Positions, epoch: int) -> dict[str, Tensor]:
        seeds = None
        if self.job.task.augments:
            seeds = [derive_seed(self.job.seed, "augmentation", epoch, p) for p in positions.tolist()]
        return self.fitted.batches.collate(positions, seeds)

    def _loss(self, batch: dict[str, Tensor]) -> Tensor:
        logits = self.prepared(**{name: tensor for name, tensor in batch.items() if name != "labels"})
        return functional.cross_entropy(
            logits.float().flatten(0, -2),
            batch["labels"].flatten(),
            weight=self.class_weights,
            label_smoothing=self.job.config.label_smoothing,
            ignore_index=IGNORE_INDEX,
            reduction="sum",
        )

    def _weight(self, labels: Tensor) -> Tensor:
        counted = labels[labels != IGNORE_INDEX]
        return (
            torch.tensor(float(len(counted)), device=labels.device)
            if self.class_weights is None
            else self.class_weights[counted].sum()
        )

    def _set_rate(self, phase: Phase, start: int) -> float:
        factor = learning_rate_factor(
            self.job.config,
            step=self.step,
            total=self.total,
            phase_step=self.step - start,
            phase_total=phase.num_epochs * self.steps_per_epoch,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        return self.job.config.learning_rate * factor

    def _check(self, losses: list[Tensor], epoch: int) -> None:
        recent = torch.stack(losses[-_CHECK_EVERY:])
        if not bool(torch.isfinite(recent).all()):
            first = self.step - len(recent) + 1 + int((~torch.isfinite(recent)).nonzero()[0])
            raise RunError(
                f"The loss is not a finite number from update {first} on (epoch {epoch}, learning_rate="
                f"{self.job.config.learning_rate:g}). Lower learning_rate, raise warmup, or set "
                "mixed_precision=no."
            )


class _Stopper:
    """Early stopping by the loss on an inner split, smoothed; keeps the best epoch's weights."""

    def __init__(self, fitted: Fitted, job: Job, inner: Positions | None) -> None:
        self.fitted, self.job, self.inner = fitted, job, inner
        self.smooth: float | None = None
        self.best, self.best_epoch, self.stopped = math.inf, 0, False
        self.kept: dict[str, Tensor] = {}

    def look(self) -> float | None:
        """Score the inner split after an epoch; None when there is none."""
        if self.inner is None:
            return None
        loss = mean_loss(self.fitted.learner, self.fitted.batches, self.inner, self.job.workers)
        self.smooth = loss if self.smooth is None else smoothed(self.smooth, loss)
        epoch = len(self.fitted.history) + 1
        if self.smooth < self.best:
            self.best, self.best_epoch = self.smooth, epoch
            self.kept = {name: tensor.detach().clone() for name, tensor in self._moving()}
        self.stopped = epoch - self.best_epoch >= self.job.config.patience
        return loss

    def finish(self) -> int:
        """Put the best epoch's weights back; gives its number."""
        if self.inner is None:
            return len(self.fitted.history)
        with torch.no_grad():
            for name, tensor in self._moving():
                tensor.copy_(self.kept[name])
        return self.best_epoch

    def _moving(self) -> Iterator[tuple[str, Tensor]]:
        """Tensors that training may have changed."""
        freezing = self.fitted.freezing
        yield from ((n, p) for n, p in self.fitted.model.named_parameters() if n in freezing.trainable)
        yield from (
            (n, b) for n, b in self.fitted.model.named_buffers() if n.rpartition(".")[0] in freezing.moving
        )


def _optimizer(model: nn.Module, config: RunConfig) -> torch.optim.Optimizer:
    groups = parameter_groups(
        model,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        layer_decay=config.layer_decay,
    )
    for group in groups:
        group["peak"] = group["lr"]
    return make_optimizer(groups, config)


def class_weights(replay: Replay, config: RunConfig, train: Positions) -> Tensor | None:
    """Inverse frequency of each class among the training rows, 1 on average; None without weights."""
    if config.class_weights == "none":
        return None
    labels = np.hstack(replay.encoded.select(train)["labels"][:])
    counts = np.bincount(labels[labels != IGNORE_INDEX], minlength=len(replay.task.label_names))
    weights = counts.sum() / (len(counts) * np.maximum(counts, 1))
    return torch.tensor(weights, dtype=torch.float32, device=replay.accelerator.device)


def epoch_order(positions: Positions, seed: int, epoch: int) -> Positions:
    """The order of rows in one epoch."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
    order: Positions = torch.randperm(len(positions), generator=generator).numpy()
    return positions[order]


def effective_batches(positions: Positions, batch_size: int, num_processes: int) -> list[Positions]:
    """Batches in order. A last one too small to share or to normalise joins the one before."""
    cuts = list(range(batch_size, len(positions), batch_size))
    if cuts and len(positions) - cuts[-1] < max(2, num_processes):
        cuts.pop()
    return np.split(positions, cuts)


def smoothed(before: Any, loss: Any) -> Any:
    """The inner loss smoothed over epochs, by which training stops."""
    return _SMOOTHING * before + (1 - _SMOOTHING) * loss


def tokens_a_pass(model: nn.Module) -> int:
    """What a pass through a model costs on a processor besides its tokens, in tokens."""
    looked_up = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    multiplied = sum(p.numel() for p in model.parameters() if id(p) not in looked_up)
    return max(_FEWEST_TOKENS, round(_WEIGHTS_A_PASS / max(multiplied, 1)))


def _pads_much(job: Job, batches: Batches, freezing: Freezing) -> bool:
    """Whether to cut batches by the length of their rows, which changes dropout's draws and the speed.

    On a processor a token of padding costs what any token does. A GPU would rather have one large
    pass. A head costs little, and is the same for a part of a batch from a store or from the model.
    """
    head = set(freezing.groups[-1].parameters)
    alone = job.workers.size == 1 and job.workers.accelerator.device.type == "cpu" and not job.config.compile
    return alone and bool(batches.sizes.any()) and not freezing.trainable <= head


def _shares(batch: Positions, job: Job) -> list[Positions]:
    """This process's part of an effective batch, in steps that fit; equally many for every process."""
    size = job.workers.size
    each = math.ceil(len(batch) / size)
    steps = math.ceil(each / (job.config.per_device_batch_size or each))
    steps = max(1, min(steps, len(batch) // size))
    return np.array_split(batch, size * steps)[job.workers.rank * steps : (job.workers.rank + 1) * steps]
