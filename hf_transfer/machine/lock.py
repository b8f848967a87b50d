"""One run in a folder at a time: who is at work there, and whether that process still lives."""

import fcntl
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
_SLACK = 5.0  # seconds between the start of a process and what it wrote, at least


@dataclass(frozen=True)
class Holder:
    """The process that works in a folder.

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
        """Whether it lives on this machine, and is not a later process with the same number."""
        import psutil

        if self.host != socket.gethostname():
            return False
        try:
            started = psutil.Process(self.process).create_time()
        except psutil.Error:
            return False
        return bool(started <= datetime.fromisoformat(self.since).timestamp() + _SLACK)


@contextmanager
def locked(folder: Path) -> Iterator[Holder | None]:
    """Keep other runs out of a folder while this one works there.

    The operating system frees the lock of a process that ends, however it ends, so that none is
    left behind. What a dead one wrote into the file is then of no account.

    Args:
        folder: Which exists.

    Yields:
        The run that died here, if one did.

    Raises:
        ConfigError: If another run is at work in the folder, naming its process and machine.
    """
    path = folder / LOCK_FILE
    number = _taken(path)
    before = _read(path)
    try:
        me = Holder(os.getpid(), socket.gethostname(), datetime.now(UTC).isoformat(timespec="seconds"))
        os.truncate(number, 0)
        os.pwrite(number, json.dumps(asdict(me)).encode(), 0)
        yield before
    finally:
        path.unlink(missing_ok=True)  # while it is held: nobody else has this very file
        os.close(number)


def holder(folder: Path) -> Holder | None:
    """Who is at work in a folder, if anybody is."""
    path = folder / LOCK_FILE
    with suppress(FileNotFoundError):
        number = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read(path)
        except OSError:  # a file system without locks
            found = _read(path)
            return found if found and found.runs_here else None
        finally:
            os.close(number)
    return None


def refuse_running(folder: Path, advice: str) -> None:
    """Stop if a run is at work in a folder.

    Raises:
        ConfigError: Naming its process and machine.
    """
    found = holder(folder)
    if found is not None and found.process != os.getpid():
        raise ConfigError(f"{folder} is in use by {found}. {advice}")


def _taken(path: Path) -> int:
    """The lock file, opened and locked."""
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
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: the record has to do
        found = _read(path)
        return found is None or not found.runs_here
    return True


def _is_still(path: Path, number: int) -> bool:
    """Whether the name still means the file that was locked; another may have removed it meanwhile."""
    try:
        return os.path.samestat(path.stat(), os.fstat(number))
    except FileNotFoundError:
        return False


def _read(path: Path) -> Holder | None:
    """What the file says; None where it says nothing that can be understood."""
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
