"""When to write a checkpoint: at intervals, after an epoch, and before a stop."""

import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

from hf_transfer import _guard  # noqa: F401
from hf_transfer.layers.shards import is_shard, write_shards
from hf_transfer.machine.signals import Interrupted, stop_signals
from hf_transfer.training.checkpoint import Checkpoints, State
from hf_transfer.training.workers import Workers

_MOST = 0.05  # of the time may go into checkpoints after epochs
_BYTES_A_SECOND = 4e8  # of a checkpoint, until one was written: gathered, hashed and put on a disk


class Pauses(AbstractContextManager["Pauses"]):
    """Write checkpoints and handle stop signals between the steps of a training.

    Args:
        checkpoints: Where they are written; None writes none.
        workers: The processes that agree on when.
        state: Gives where the training is; all processes at work together call it.
        num_bytes: How large a checkpoint will be, roughly.
    """

    def __init__(
        self, checkpoints: Checkpoints | None, workers: Workers, state: Callable[[], State], num_bytes: int
    ) -> None:
        self.checkpoints, self.workers, self.state = checkpoints, workers, state
        self.kept, self.cost = time.monotonic(), num_bytes / _BYTES_A_SECOND
        self._signals = ExitStack()

    def __enter__(self) -> "Pauses":
        self._signals.enter_context(stop_signals.at_steps())
        return self

    def __exit__(self, *error: object) -> None:
        self._signals.__exit__(*error)  # type: ignore[arg-type]

    def after_step(self) -> None:
        """Write a checkpoint if one is due, and stop if a signal has arrived.

        Raises:
            Interrupted: If it was, of this process or one that works with it.
        """
        self._pause(epoch_ends=False)

    def after_epoch(self) -> None:
        """Do the same after an epoch, where a checkpoint is due earlier if it is cheap."""
        self._pause(epoch_ends=True)

    def _pause(self, *, epoch_ends: bool) -> None:
        stop, keep = self.workers.agreed(bool(stop_signals.received), self._due(epoch_ends))
        if self.checkpoints is not None and (stop or keep):
            self.keep()
        if stop:
            raise Interrupted(stop_signals.received or signal.SIGTERM)

    def _due(self, epoch_ends: bool) -> bool:
        if self.checkpoints is None or self.workers.rank:
            return False  # the first process looks at its clock
        passed = time.monotonic() - self.kept
        return passed >= 60 * self.checkpoints.minutes or (epoch_ends and passed * _MOST >= self.cost)

    def keep(self) -> None:
        """Write a checkpoint now."""
        began = time.monotonic()
        state = self.state()
        if self.checkpoints is not None:
            shards = {name: tensor for name, tensor in state.tensors.items() if is_shard(tensor)}
            if shards:
                write_shards(self.checkpoints.shards, shards, self.workers.accelerator)
            if self.workers.rank == 0:
                self.checkpoints.save(state)
        self.kept = time.monotonic()
        self.cost = self.kept - began
