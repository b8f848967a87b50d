"""Train an objective on rows without labels, from the start or from a checkpoint."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import DataError, RunError
from hf_transfer.folds.order import derive_seed
from hf_transfer.machine.devices import moved, seeded
from hf_transfer.machine.memory import attempt, explained
from hf_transfer.machine.progress import progress_bar
from hf_transfer.replay.batching import Batch, Batches, Positions
from hf_transfer.runs.pretrain_record import EpochLoss
from hf_transfer.runs.schema import from_json, to_json
from hf_transfer.training.checkpoint import Checkpoints, State
from hf_transfer.training.epochs import effective_batches, epoch_order
from hf_transfer.training.optimizer import learning_rate_factor, make_optimizer
from hf_transfer.training.pausing import Pauses
from hf_transfer.training.state import (
    Undo,
    optimizer_tensors,
    random_state,
    restore_optimizer,
    restore_random_state,
)
from hf_transfer.training.workers import Workers
from hf_transfer.transfer.objective import Objective, spread

_CHECK_EVERY = 25  # updates between looks at the loss: a look waits for the device


@dataclass(frozen=True, eq=False)
class Schooling:
    """What is learned, from which rows, how.

    Attributes:
        objective: With its model.
        batches: Of the pool's rows.
        train: Positions of those to learn from.
        held_out: Of those that the loss is only measured on.
        config: Of which learning rate, epochs, batch size, optimizer and the seed are used.
        workers: Where; one process.
        checkpoints: To go on from.
        minutes: After which to stop; None for all epochs.
        on_epoch: Called with the losses of each epoch.
    """

    objective: Objective
    batches: Batches
    train: Positions
    held_out: Positions
    config: RunConfig
    workers: Workers
    checkpoints: Checkpoints | None
    minutes: float | None = None
    on_epoch: Callable[[dict[str, Any]], None] = field(default=lambda _: None)


class PretrainLoop:
    """The training loop of one objective."""

    def __init__(self, schooling: Schooling) -> None:
        self.given, self.model = schooling, schooling.objective.model
        self.steps_per_epoch = len(self._batches_of(1))
        self.total = self.steps_per_epoch * schooling.config.num_epochs
        self.history: list[EpochLoss] = []
        self.losses: list[Tensor] = []  # of the updates done in this epoch
        self.before = 0.0  # seconds of training by processes before this one

    @property
    def step(self) -> int:
        """Number of updates done."""
        return max(0, len(self.history) - 1) * self.steps_per_epoch + len(self.losses)

    @property
    def seconds(self) -> float:
        """Of training so far."""
        return self.before + time.monotonic() - self.began

    @property
    def timed_out(self) -> bool:
        """Whether the time that was given is over."""
        minutes = self.given.minutes
        return minutes is not None and self.seconds >= 60 * minutes

    def run(self) -> list[EpochLoss]:
        """Train the remaining epochs, or until the time is over; the losses of each.

        Raises:
            RunError: If the loss is not a finite number, or memory is short.
            Interrupted: If the process was asked to stop; where it is has then been kept.
        """
        self.began = time.monotonic()
        given = self.given
        device = given.workers.accelerator.device
        optimizer = _optimizer(moved(self.model, device), given.config)
        given.workers.restart_scale()
        self.prepared, self.optimizer = given.workers.prepare(self.model, optimizer)
        self.undo = Undo(self.optimizer, self.model.buffers(), device)
        self._restore()
        weights = sum(tensor.nbytes for tensor in self.model.state_dict().values())
        pauses = Pauses(given.checkpoints, given.workers, self._state, num_bytes=3 * weights)
        bar = progress_bar(given.objective.name, total=self.total, initial=self.step)
        with bar as self.bar, pauses:
            if not self.history:
                self._measured(0, None)
            while len(self.history) <= given.config.num_epochs and not self._over:
                self._epoch(len(self.history), pauses)
                pauses.after_epoch()
            if given.checkpoints is not None:
                pauses.keep()
        return self.history

    @property
    def _held_out(self) -> list[Positions]:
        return effective_batches(self.given.held_out, self.given.config.batch_size, 1)

    @property
    def _over(self) -> bool:
        return self.timed_out and bool(self.step) and not self.losses

    def _epoch(self, number: int, pauses: Pauses) -> None:
        self.prepared.train()
        for positions in self._batches_of(number)[len(self.losses) :]:
            self._update(positions)
            self.bar.update()
            if self.step % _CHECK_EVERY == 0:
                self._check()
            if self.timed_out:
                break
            if len(self.losses) < self.steps_per_epoch:
                pauses.after_step()
        self._check()
        self._measured(number, torch.stack(self.losses).mean().item())

    def _update(self, positions: Positions) -> None:
        """Make one update, whose masks, views and dropout follow from its number and the state of torch."""
        accelerator, config = self.given.workers.accelerator, self.given.config
        factor = self._factor()
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * factor

        def gradients() -> Tensor:
            random = torch.Generator().manual_seed(derive_seed(config.seed, "masks", self.step))
            with accelerator.autocast():
                loss = self.given.objective.loss(self.prepared, self._rows(positions), random)
            accelerator.backward(loss)
            return loss.detach().float()

        when, half = f"at update {self.step + 1} with {len(positions)} rows", max(2, len(positions) // 2)
        self.undo.keep()
        # The rows of a batch are learned from each other, so that half of them would be another update.
        advice = f"Set batch_size to {half} or less, or take"
        loss = attempt(gradients, when, undo=self.undo, advice=advice)
        with explained(when):
            if config.max_grad_norm:
                self.given.workers.clip(self.optimizer, list(self.model.parameters()), config.max_grad_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
        self.losses.append(loss)

    def _factor(self) -> float:
        """Of the peak learning rate; where a time is given it falls as that passes, if that is sooner."""
        minutes, done = self.given.minutes, self.step
        if minutes is not None:
            done = max(done, min(self.total - 1, round(self.total * self.seconds / (60 * minutes))))
        config = self.given.config
        return learning_rate_factor(
            config, step=done, total=self.total, phase_step=done, phase_total=self.total
        )

    def _rows(self, positions: Positions) -> Batch:
        batch = self.given.batches.stacked(positions)
        return {name: tensor for name, tensor in batch.items() if name != "labels"}

    def _batches_of(self, epoch: int) -> list[Positions]:
        config = self.given.config
        order = epoch_order(self.given.train, config.seed, epoch)
        return effective_batches(order, config.batch_size, 1)

    @torch.no_grad()
    def _held_out_loss(self) -> float:
        """The mean loss of rows held out, with the same masks, views and dropout every time."""
        objective, total = self.given.objective, 0.0
        self.prepared.train(objective.drops_out)
        for number, positions in enumerate(self._held_out):
            seed = derive_seed(self.given.config.seed, "held out", number)
            with seeded(seed, self.given.workers.accelerator.device):
                random = torch.Generator().manual_seed(seed)
                loss = objective.loss(self.prepared, self._rows(positions), random)
            total += loss.item() * len(positions)
        return total / len(self.given.held_out)

    @torch.no_grad()
    def _feature_spread(self) -> float | None:
        """How far features of rows held out point in different directions, where they may become alike."""
        self.prepared.eval()
        found = [self.given.objective.features(self._rows(positions)) for positions in self._held_out]
        made = [features for features in found if features is not None]
        return spread(torch.cat(made)) if made else None

    def _measured(self, epoch: int, train_loss: float | None) -> None:
        held_out = self._held_out_loss()
        if not np.isfinite(held_out):
            raise self._not_finite("The loss of rows held out")
        if not (epoch or held_out):
            raise DataError(
                f"{self.given.objective.name} finds nothing to learn in rows held out: their loss is 0 from "
                "the start. Give texts that the model's tokenizer knows, or another model."
            )
        self.losses = []
        self.history.append(
            EpochLoss(
                epoch=epoch,
                train_loss=train_loss,
                held_out_loss=held_out,
                feature_spread=self._feature_spread(),
                seconds=self.seconds,
            )
        )
        self.bar.set_postfix(epoch=epoch, held_out_loss=f"{held_out:.3f}", refresh=False)
        self.given.on_epoch(to_json(self.history[-1]))

    def _check(self) -> None:
        """Stop if one of the latest losses is not finite."""
        if self.losses and not bool(torch.isfinite(torch.stack(self.losses[-_CHECK_EVERY:])).all()):
            raise self._not_finite("The loss")

    def _not_finite(self, what: str) -> RunError:
        return RunError(
            f"{what} is not a finite number at update {self.step} (learning_rate="
            f"{self.given.config.learning_rate:g}); no model was written. Lower learning_rate, raise "
            "warmup, or set mixed_precision=no."
        )

    def _state(self) -> State:
        """Everything a checkpoint needs."""
        self._check()
        optimizer, scale = optimizer_tensors(self.optimizer, self.given.workers)
        model = {f"model.{name}": tensor.detach().cpu().clone() for name, tensor in self._tensors().items()}
        losses = torch.stack(self.losses).cpu() if self.losses else torch.zeros(0)
        values = {"history": to_json(self.history), "passed": self.seconds, "scale": scale}
        return State(
            self.step,
            values,
            {**model, "of_updates": losses, **optimizer, **random_state(self.given.workers)},
        )

    def _tensors(self) -> dict[str, Tensor]:
        return dict(self.model.state_dict())

    def _restore(self) -> None:
        """Go on from the newest checkpoint of this training, if there is one."""
        state = self.given.checkpoints.load() if self.given.checkpoints else None
        if state is None:
            torch.manual_seed(derive_seed(self.given.config.seed, "pretrain"))
            return
        with torch.no_grad():
            for name, tensor in self._tensors().items():
                tensor.copy_(state.tensors[f"model.{name}"])
        self.history = [from_json(EpochLoss, one) for one in state.values["history"]]
        self.losses = list(state.tensors["of_updates"].to(self.given.workers.accelerator.device))
        self.before = state.values["passed"]
        restore_optimizer(self.optimizer, state, self.given.workers)
        restore_random_state(state, self.given.workers)


def _optimizer(model: torch.nn.Module, config: RunConfig) -> torch.optim.Optimizer:
    """Without decay of norms and biases."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return make_optimizer([group | {"lr": config.learning_rate} for group in groups], config)
