"""Train a model, epoch by epoch and phase by phase, from the start or from a checkpoint."""

import time
from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import RunError, ShortOfMemoryError
from hf_transfer.folds.order import derive_seed
from hf_transfer.layers.freezing import parameter_groups
from hf_transfer.layers.phases import Phase, freeze_for, phases_of
from hf_transfer.layers.shards import local
from hf_transfer.machine.memory import attempt, explained, note, noted
from hf_transfer.machine.progress import progress_bar
from hf_transfer.replay.batching import Positions, cut_by_size
from hf_transfer.training.checkpoint import State
from hf_transfer.training.epochs import (
    effective_batches,
    epoch_order,
    fewest_rows,
    label_weights,
    most_rows,
    pads_much,
    shares,
    tokens_a_pass,
)
from hf_transfer.training.job import Fitted, Job
from hf_transfer.training.joint import JointUpdate
from hf_transfer.training.optimizer import learning_rate_factor, make_optimizer
from hf_transfer.training.pausing import Pauses
from hf_transfer.training.scale import scaled
from hf_transfer.training.state import (
    Undo,
    optimizer_tensors,
    random_state,
    restore_optimizer,
    restore_random_state,
    to_keep,
)
from hf_transfer.training.stopping import Stopper

_CHECK_EVERY = 25  # updates between looks at the loss: a look waits for the device
_SHOWN = 8  # rows named in a message


class Loop:
    """The training loop of one model.

    Args:
        job: What, how, by whom.
        fitted: The fresh model.
        train: Positions of the rows to learn from.
        stopper: Looks at each epoch.
    """

    def __init__(self, job: Job, fitted: Fitted, train: Positions, stopper: Stopper) -> None:
        self.job, self.fitted, self.model, self.train = job, fitted, fitted.model, train
        self.stopper = stopper
        self.phases = phases_of(job.config, fitted.freezing)
        self.phase_of = [i for i, phase in enumerate(self.phases) for _ in range(phase.num_epochs)]
        self.steps_per_epoch = len(effective_batches(train, job.config.batch_size, job.workers.size))
        self.total = self.steps_per_epoch * job.config.num_epochs
        self.target = job.task.target
        self.label_weights = label_weights(job.replay, job.config, train)
        self.tokens_a_pass = tokens_a_pass(self.model)
        self.per_device = job.config.per_device_batch_size
        self.halved = False
        self.phase = 0
        self.losses: list[Tensor] = []  # of the updates done in this epoch
        self.seconds = 0.0  # of this epoch, before this process took it up
        self.restored: State | None = None

    @property
    def step(self) -> int:
        """Number of updates done."""
        return len(self.fitted.history) * self.steps_per_epoch + len(self.losses)

    def run(self) -> None:
        """Train the remaining epochs.

        Raises:
            RunError: If the loss becomes infinite or NaN, or memory is short.
            Interrupted: If the process was asked to stop; where it is has then been kept.
        """
        weights = sum(tensor.nbytes for _, tensor in self.fitted.moving())
        pauses = Pauses(
            self.job.checkpoints, self.job.workers, self._state, num_bytes=3 * weights
        )  # with AdamW's two moments
        bar = progress_bar(
            self.job.title,
            total=self.total,
            initial=self.step,
            shown=self.job.workers.rank == 0,
            position=self.job.workers.line,
        )
        self.job.workers.restart_scale()
        with bar as self.bar, pauses, noted(self.fitted.notes):
            self._begin(self.phase)
            for number in range(len(self.fitted.history) + 1, len(self.phase_of) + 1):
                if self.stopper.stopped:
                    break
                if self.phase_of[number - 1] != self.phase:
                    self._end()
                    self._begin(self.phase_of[number - 1])
                self._epoch(number, pauses)
                pauses.after_epoch()
        self._end()

    def restore(self, state: State) -> None:
        """Resume from a checkpoint of this training."""
        values, moving = state.values, dict(self.fitted.moving())
        like = {f"{part}.{name}": tensor for part in ("model", "kept") for name, tensor in moving.items()}
        tensors = state.tensors | state.shards(like)
        with torch.no_grad():
            for name, tensor in self.fitted.moving():
                tensor.copy_(tensors[f"model.{name}"])
        self.fitted.history[:] = values["history"]
        self.fitted.notes[:] = values["notes"]
        self.losses = list(tensors["losses"].to(self.job.workers.accelerator.device))
        self.phase, self.seconds = values["phase"], values["seconds"]
        self.fitted.seconds_before = self.seconds + sum(epoch["seconds"] for epoch in self.fitted.history)
        self.per_device = values["per_device"] if values["halved"] else self.per_device
        self.halved = values["halved"]
        kept = {name[5:]: tensor for name, tensor in tensors.items() if name.startswith("kept.")}
        self.stopper.restore(values["stopper"], kept)
        self.restored = state

    def _state(self) -> State:
        """Collect everything a checkpoint needs; all processes that work together must call this."""
        self._check(len(self.fitted.history) + 1)
        moving = {f"model.{name}": to_keep(tensor) for name, tensor in self.fitted.moving()}
        kept = {f"kept.{name}": to_keep(tensor) for name, tensor in self.stopper.kept.items()}
        losses = torch.stack(self.losses).cpu() if self.losses else torch.zeros(0)
        values = {
            "phase": self.phase,
            "history": self.fitted.history,
            "notes": self.fitted.notes,
            "seconds": self.seconds + time.monotonic() - self.began if self.losses else 0.0,
            "per_device": self.per_device,
            "halved": self.halved,
            "stopper": self.stopper.values(),
            "hash_before": self.fitted.hash_before,
        }
        optimizer, scale = optimizer_tensors(self.optimizer, self.job.workers)
        random = random_state(self.job.workers)
        return State(
            self.step, values | {"scale": scale}, {**moving, **kept, "losses": losses, **optimizer, **random}
        )

    def _begin(self, phase: int) -> None:
        """Set up a phase: freeze its layers, and make its batches and optimizer."""
        self.phase = phase
        freezing = freeze_for(self.model, self.job.config, only=self.phases[phase].only)
        self.fitted.batches = self.job.replay.batches(self.model, freezing)
        if not self.job.workers.together:  # together they could not agree on letting go
            self.fitted.batches.hold()
        self.fewest = fewest_rows(self.model, freezing)
        self.by_size = pads_much(self.job, self.fitted.batches, freezing)
        if self.job.term:
            self.job.term.begin(self.fitted, freezing)
        optimizer = _optimizer(self.model, self.job.config)
        self.prepared, self.optimizer = self.job.workers.prepare(self.fitted.learner, optimizer)
        device = self.job.workers.accelerator.device
        self.undo = Undo(self.optimizer, (tensor for _, tensor in self.fitted.moving()), device)
        if self.job.config.compile:
            self.prepared = cast(nn.Module, torch.compile(self.prepared))
        if self.restored is not None:
            restore_optimizer(self.optimizer, self.restored, self.job.workers)
            restore_random_state(self.restored, self.job.workers)
            self.restored = None

    def _end(self) -> None:
        """Give back the memory of a phase's moments by hand: fp16 leaves its optimizer in a circle."""
        self.optimizer.zero_grad()
        self.optimizer.state.clear()

    def _epoch(self, number: int, pauses: Pauses) -> None:
        self.began = time.monotonic()
        phase, start = self.phases[self.phase], self.phase_of.index(self.phase) * self.steps_per_epoch
        self.model.train()
        self.prepared.train()
        shuffled = epoch_order(self.train, self.job.seed, number)
        batches = effective_batches(shuffled, self.job.config.batch_size, self.job.workers.size)
        rate = 0.0
        for batch in batches[len(self.losses) :]:
            rate = self._set_rate(phase, start)
            self.losses.append(self._update(batch, number))
            if self.job.term:
                self.job.term.step(rate)
            self.bar.update()
            if self.step % _CHECK_EVERY == 0 or len(self.losses) == self.steps_per_epoch:
                self._check(number)
            if len(self.losses) < self.steps_per_epoch:
                pauses.after_step()
        self._finish_epoch(number, phase, rate)

    def _finish_epoch(self, number: int, phase: Phase, rate: float) -> None:
        self._check_weights(number)
        mean = torch.stack(self.losses).mean().item()
        self.bar.set_postfix(epoch=number, loss=f"{mean:.3f}", refresh=False)
        epoch = {
            "epoch": number,
            "phase": phase.name,
            "train_loss": mean,
            "learning_rate": rate,
            "seconds": self.seconds + time.monotonic() - self.began,
            "inner_loss": self.stopper.look(),
        }
        self.losses, self.seconds = [], 0.0
        self.fitted.history.append(epoch)
        if self.job.on_epoch:
            self.job.on_epoch(epoch)

    def _update(self, batch: Positions, epoch: int) -> Tensor:
        """Make one update on an effective batch; return its mean loss.

        If memory runs out, what is kept for speed goes, then half the rows are taken at a time, and so on.
        """
        when = f"at update {self.step + 1}"
        self.undo.keep()
        while True:
            try:
                gradients = partial(self._gradients, batch, epoch)
                loss = attempt(gradients, when, undo=self.undo, agreed=self._agreed, advice=self._advice)
                break
            except ShortOfMemoryError:
                if self.job.workers.sharded or not self._halve(batch):
                    raise
        self._step(when)
        return loss

    def _agreed(self, given_back: bool) -> bool:
        """Whether any process has given memory back; those that hold parts of a model can't ask."""
        return not self.job.workers.sharded and self.job.workers.agreed(given_back)[0]

    @property
    def _advice(self) -> str:
        if not self.job.workers.sharded:
            return ""
        share = max(1, self.job.config.batch_size // self.job.workers.size)
        half = max(1, min(self.per_device or share, share) // 2)
        return f"Set per_device_batch_size to {half} or less, which changes no update, or take"

    def _halve(self, batch: Positions) -> bool:
        """Take half as many rows at a time from here on; False if there can be no fewer."""
        before, rows = self.per_device, self._rows_at_once(batch)
        self.per_device = max(1, rows // 2)
        left = self._rows_at_once(batch)
        if left == rows:
            self.per_device = before
            return False
        self.halved = True
        note(
            f"Memory ran out at update {self.step + 1}: from there on {left} rows were taken at a "
            f"time instead of {rows}. Each update is still by {self.job.config.batch_size} rows."
        )
        return True

    def _rows_at_once(self, batch: Positions) -> int:
        """Most rows of a batch that are taken at a time."""
        if self.job.workers.together:  # as all of them count it
            return most_rows(batch, self.job.workers, self.per_device, self.fewest)
        return max(map(len, self._pieces(batch)))

    def _gradients(self, batch: Positions, epoch: int) -> Tensor:
        """Compute the gradients of an effective batch; return its mean loss."""
        workers = self.job.workers
        accelerator, joint = workers.accelerator, JointUpdate(workers)
        pieces: list[dict[str, Tensor]] = []
        weight = loss = torch.zeros((), device=accelerator.device)
        with joint:
            pieces = [self._collate(piece, epoch) for piece in self._pieces(batch)]
            # The mean is over the whole effective batch, however it is cut over processes and steps.
            weight = sum(
                (self.target.weight(piece["labels"], self.label_weights) for piece in pieces), weight
            )
        weight = workers.total(weight).clamp(min=1e-12)
        with joint:
            loss = self._learned(pieces, weight, len(batch))
        loss = joint.agreed(loss)
        workers.sum_gradients(self.model)
        return loss

    def _learned(self, pieces: list[dict[str, Tensor]], weight: Tensor, num_rows: int) -> Tensor:
        """Add up this process's gradients of some pieces of a batch; return its part of the loss."""
        workers = self.job.workers
        loss = torch.zeros((), device=workers.accelerator.device)
        rounds = len(pieces)
        if workers.sharded and self.fitted.batches.alike is not None:  # or all have as many
            rounds = workers.most(rounds)
        for i in range(rounds):
            with workers.at_piece(self.model, last=i + 1 == rounds):
                piece = pieces[min(i, len(pieces) - 1)]
                share = self._loss(piece) / weight
                if self.job.term:
                    part = len(piece["labels"]) / num_rows
                    share = share + self.job.term(len(piece["labels"]), self.step / self.total) * part
                share = share * (i < len(pieces))
                # Shards are averaged on their way, other gradients summed.
                workers.accelerator.backward(share * workers.size if workers.sharded else share)
            loss += share.detach()
        return loss

    def _step(self, when: str) -> None:
        """Move the weights, once: a step that stopped halfway cannot be taken back."""
        with explained(f"{when}, as the weights moved"):
            if self.job.config.max_grad_norm:
                learning = [p for p in self.model.parameters() if p.requires_grad]
                self.job.workers.clip(self.optimizer, learning, self.job.config.max_grad_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()

    def _pieces(self, batch: Positions) -> list[Positions]:
        """This process's share of an effective batch, in pieces that fit in memory."""
        pieces = shares(batch, self.job.workers, self.per_device, self.fewest)
        if self.fitted.batches.alike is not None:
            return [part for piece in pieces for part in self.fitted.batches.stackable(piece)]
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
        outputs = self.prepared(**{name: tensor for name, tensor in batch.items() if name != "labels"})
        smoothing = self.job.config.label_smoothing
        labels = scaled(batch["labels"], self.fitted.scale)
        return self.target.loss(outputs, labels, self.label_weights, smoothing)

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

    def _check(self, epoch: int) -> None:
        """Stop if one of the latest losses is not finite."""
        if not self.losses:
            return
        recent = torch.stack(self.losses[-_CHECK_EVERY:])
        if not bool(torch.isfinite(recent).all()):
            first = len(self.losses) - len(recent) + int((~torch.isfinite(recent)).nonzero()[0])
            raise RunError(self._not_finite("The loss", epoch, first))

    def _check_weights(self, epoch: int) -> None:
        """Stop if the last update of an epoch left weights that are not finite."""
        learning = [p for p in self.model.parameters() if p.requires_grad]
        finite = all(bool(torch.isfinite(local(p)).all()) for p in learning)
        if not all(self.job.workers.gather([finite])):  # of a shard only one process knows
            raise RunError(self._not_finite("A weight", epoch, len(self.losses) - 1))

    def _not_finite(self, what: str, epoch: int, update: int) -> str:
        """Write the error for an update that gave numbers that are not finite."""
        order = epoch_order(self.train, self.job.seed, epoch)
        batch = effective_batches(order, self.job.config.batch_size, self.job.workers.size)[update]
        number = self.step - len(self.losses) + update + 1
        return (
            f"{what} is not a finite number from update {number} on (epoch {epoch}, learning_rate="
            f"{self.job.config.learning_rate:g}; rows of that update: {self._row_names(batch)}). Lower "
            "learning_rate, raise warmup, or set mixed_precision=no; if the rows are at fault, look at those."
        )

    def _row_names(self, batch: Positions) -> str:
        rows = list(dict.fromkeys(self.job.replay.plain.row_of[batch].tolist()))
        ids = np.asarray(self.job.row_ids, object)
        names = [repr(ids[row]) if len(ids) else str(row) for row in rows]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return ", ".join(names[:_SHOWN]) + more


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
