"""Wait for the other processes of a launch, notice those that ended, and see whether they share a disk."""

import platform
import secrets
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from accelerate.utils import broadcast_object_list, gather_object

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import RunError

if TYPE_CHECKING:
    from accelerate import Accelerator

_BEAT_EVERY = 5.0  # seconds
_SILENT = 300.0  # seconds without a beat, after which a process counts as ended
_SHORTEST, _LONGEST = 0.002, 0.5  # seconds between two looks at who has come
_SHOWS_UP = 10.0  # seconds in which a file of one machine shows up on another, if they share the disk
_FAREWELL = 10.0  # seconds that the keeper of the store waits for the others to leave

LOST = (
    "Another process of this launch has ended, so this one cannot continue. See that one's message; "
    "without one, it was killed. Finished work is kept: run the same command again to resume."
)


class Meeting:
    """Barriers of the processes of a launch, through the store by which they found each other.

    A barrier of the communication library takes a device, waits on it, and has a time limit, which has to
    be days where others train whole folds. This one takes none, and waits as long as all are alive: each
    process counts up a number of its own, from a thread.

    Args:
        store: Of PyTorch, shared by all; another thread uses it too.
        rank: Of this process.
        size: Number of processes.
        beat_every: Seconds between two signs of life.
        silent: Seconds without one, after which a process counts as ended.
    """

    def __init__(
        self, store: Any, rank: int, size: int, *, beat_every: float = _BEAT_EVERY, silent: float = _SILENT
    ) -> None:
        self.store, self.rank, self.size = store, rank, size
        self.beat_every, self.silent = beat_every, silent
        self.count = 0
        threading.Thread(target=self._beat, daemon=True).start()

    def wait(self) -> None:
        """Wait until all processes have called this as often.

        Raises:
            RunError: If one of them has ended.
        """
        self.count += 1
        came, left = (f"hf_transfer/{what}/{self.count}" for what in ("came", "left"))
        self.store.add(came, 1)
        self._until_all(came)
        self.store.add(left, 1)
        if self.rank == 0:  # it may keep the store, and end after this: the others could not look any more
            self._until_all(left, at_most=_FAREWELL)

    def _until_all(self, key: str, at_most: float = float("inf")) -> None:
        began, pause = time.monotonic(), _SHORTEST
        beats = dict.fromkeys(range(self.size), (-1, began))
        while self.store.add(key, 0) < self.size and time.monotonic() - began < at_most:
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST)
            if pause == _LONGEST:
                self._look(beats)

    def _look(self, beats: dict[int, tuple[int, float]]) -> None:
        """Stop if a process has been silent for too long.

        Raises:
            RunError: If one has.
        """
        now = time.monotonic()
        for rank, (seen, since) in beats.items():
            number = self.store.add(f"hf_transfer/alive/{rank}", 0)
            if number != seen:
                beats[rank] = (number, now)
            elif now - since > self.silent:
                raise RunError(f"{LOST} (No sign of process {rank} for {self.silent:.0f} seconds.)")

    def _beat(self) -> None:
        while True:
            try:
                self.store.add(f"hf_transfer/alive/{self.rank}", 1)
            except RuntimeError:  # the keeper of the store has ended: there is nobody to tell
                return
            time.sleep(self.beat_every)


_meetings: dict[int, Meeting] = {}  # by the store, as a program may leave a group and join another


def wait_for_all(accelerator: "Accelerator") -> None:
    """Wait until all processes of a launch have come here; they may be more than there are devices.

    Raises:
        RunError: If one of them has ended.
    """
    if accelerator.num_processes == 1:
        return
    store = dist.distributed_c10d._get_default_store()
    if id(store) not in _meetings:
        _meetings[id(store)] = Meeting(store, accelerator.process_index, accelerator.num_processes)
    _meetings[id(store)].wait()


def blind_to(accelerator: "Accelerator", folder: Path) -> list[str]:
    """Names of the machines that do not see what the main process writes into a folder.

    Args:
        accelerator: All of its processes call this.
        folder: On the main process it is there.
    """
    if accelerator.num_processes == 1:
        return []
    name = [f".seen-by-all-{secrets.token_hex(8)}"]
    broadcast_object_list(name)
    file = folder / name[0]
    if accelerator.is_main_process:
        file.touch()
    wait_for_all(accelerator)
    found = gather_object([(platform.node(), _shows_up(file))])
    if accelerator.is_main_process:
        file.unlink(missing_ok=True)
    return sorted({machine for machine, sees in found if not sees})


def _shows_up(file: Path) -> bool:
    ends = time.monotonic() + _SHOWS_UP
    while not file.exists():
        if time.monotonic() > ends:
            return False
        time.sleep(_LONGEST)
    return True
