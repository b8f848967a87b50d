"""Lock a run's folder, and record which process holds it."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError

LOCK_FILE = ".lock"
_SECONDS = 0.5  # somebody who only looks holds the lock for far less
_GLANCE = 0.02  # and another one who looks, for less than this
_SLACK = 5.0  # seconds between the start of a process and what it wrote, at least


@dataclass(frozen=True)
class Holder:
    """The process that holds the lock of a folder.

    Attributes:
        process: Its number on its machine.
        host: The machine's name.
        since: When it began, in UTC.
    """

    process: int
    host: str
    since: str

    def __str__(self) -> str:
        return f"process {self.process} on {self.host} since {self.since}"

    @property
    def runs_here(self) -> bool:
        """Whether the process runs on this machine, and its number was not reused."""
        if self.host != socket.gethostname():
            return False
        return is_alive(self.process, datetime.fromisoformat(self.since).timestamp())


def is_alive(process: int, since: float | None = None) -> bool:
    """Whether a process of this machine is running; a zombie is not.

    Args:
        process: Its number.
        since: Seconds of the clock at which it ran; one that began later has only the same number.
    """
    import psutil

    try:
        running = psutil.Process(process)
        late = since is not None and running.create_time() > since + _SLACK
        return not late and running.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # it is there, and another person's
        return True


@contextmanager
def locked(folder: Path) -> Iterator[Holder | None]:
    """Hold a folder's lock, so that no other run works in it.

    The operating system frees the lock of a process that ends, however it ends, so that none is
    left behind. What a dead one wrote into the file is then of no account.

    Args:
        folder: Which exists.

    Yields:
        The run that died here, if one did.

    Raises:
        ConfigError: If another run is at work in the folder, naming its process and machine.
    """
    path = _lock_file(folder)
    number = _taken(path)
    before = _read(path)
    try:
        me = Holder(os.getpid(), socket.gethostname(), datetime.now(UTC).isoformat(timespec="seconds"))
        os.ftruncate(number, 0)
        os.write(number, json.dumps(asdict(me)).encode())
        yield before
    finally:
        _free(number, path)


def holder(folder: Path) -> Holder | None:
    """The process that holds the lock of a folder, if any."""
    path = _lock_file(folder)
    with suppress(FileNotFoundError):
        # NFS locks only what is open for writing; on a disk of this machine, reading will do.
        number = os.open(path, os.O_RDWR if os.access(path, os.W_OK) else os.O_RDONLY)
        try:
            if _lock(number, path):
                return None
            current = _read(path)
            if current is None or not current.runs_here:  # it may be that somebody else looks at this moment
                time.sleep(_GLANCE)
                return None if _lock(number, path) else _read(path)
            return current
        finally:
            os.close(number)
    return None


def refuse_running(folder: Path, advice: str) -> None:
    """Stop if another run works in a folder.

    Raises:
        ConfigError: Naming its process and machine.
    """
    current = holder(folder)
    if current is not None and current.process != os.getpid():
        raise ConfigError(f"{folder} is in use by {current}. {advice}")


def _lock_file(folder: Path) -> Path:
    """Where the lock is, which must be a file: what a link leads to would be written over."""
    path = folder / LOCK_FILE
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise ConfigError(f"{path} is {'a link' if path.is_symlink() else 'special'}, not a file. Remove it.")
    return path


def _taken(path: Path) -> int:
    """Open and lock the lock file."""
    deadline = time.monotonic() + _SECONDS
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if _lock(number, path) and _is_still(path, number):
            return number
        os.close(number)
        if time.monotonic() > deadline:
            raise ConfigError(
                f"{path.parent} is in use by {_read(path) or 'another process'}. Two runs in one folder "
                "would spoil each other: wait for that one, end it, or give another --output_dir."
            )
        time.sleep(0.02)


def _lock(number: int, path: Path) -> bool:
    """Try to lock an open file; closing it, or the end of the process, unlocks it."""
    import filelock

    try:
        return filelock.lock_descriptor(number, blocking=False)
    except OSError:  # a file system without locks: the record has to do
        current = _read(path)
        return current is None or not current.runs_here


def _free(number: int, path: Path) -> None:
    """Remove the lock file while it is locked, then unlock it."""
    if os.name != "nt":
        try:
            path.unlink(missing_ok=True)
        except OSError:  # the folder has become read-only: a file that nobody has locked does no harm
            pass
        finally:
            os.close(number)
        return
    os.close(number)  # Windows removes no file that is open, so this order does no harm there
    with suppress(PermissionError):  # the next one has opened it already
        path.unlink(missing_ok=True)


def _is_still(path: Path, number: int) -> bool:
    """Whether the path still leads to the file that was locked, and nobody has replaced it."""
    if os.name == "nt":  # which removes no file that is open
        return True
    try:
        return os.path.samestat(path.stat(), os.fstat(number))
    except FileNotFoundError:
        return False


def _read(path: Path) -> Holder | None:
    """Read the holder from the lock file; None if the record is incomplete.

    Its first byte, a brace, is not looked at: on Windows a lock is on it, and keeps readers out.
    """
    try:
        with path.open("rb") as stream:
            stream.seek(1)
            return Holder(**json.loads(b"{" + stream.read()))
    except (OSError, ValueError, TypeError):
        return None
