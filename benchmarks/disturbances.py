"""What a siege does to a run: each fault is drawn from a generator, applied, and taken back.

A fault acts before the run starts (in the child, or on stored files), or after a random time (from outside).
"""

import ctypes
import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from hub_server import HubServer

STORED = (".npy", ".arrow", ".json", ".jsonl", ".parquet", ".safetensors", ".yaml", ".npz")
HUB_FAULTS = ("reset", "midway", "lost", "slow", "short", "cut", "flip")
HUB_PATHS = ("/commit/", "/preupload/", "/lfs", "/api/models/", "/resolve/", "/whoami", "/create", "/")
MAY_WRITE_ANYWHERE = 0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, in the first word of capabilities


@dataclass(frozen=True)
class Place:
    """Where a siege happens.

    Attributes:
        disk: A small file system of its own, with the runs and the cache.
        run: The folder of the run that is disturbed.
        cache: What the kit stores beside runs.
        hub: Where it pushes to.
    """

    disk: Path
    run: Path
    cache: Path
    hub: "HubServer"


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[bool]:
    """Mount a file system of limited size, if this account may; gives whether it did."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    try:
        yield mounted.returncode == 0
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def obey_permissions() -> None:
    """Give up root's right to write where permissions forbid it; an error leaves it as it was."""
    libc = ctypes.CDLL(None)
    header, rights = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if libc.capget(header, rights) == 0:
        for word in (0, 1):  # effective, permitted
            rights[word] &= ~MAY_WRITE_ANYWHERE
        libc.capset(header, rights)


# In the child, before it runs.


def few_files(draw: random.Random) -> Callable[[], None]:
    """Let the child open only so many files at a time."""
    most = draw.randint(8, 64)
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def clock_back(draw: random.Random) -> Callable[[], None]:
    """Let the clock jump back by up to ten days, at one of the first thousand looks at it."""
    left, by = draw.randint(1, 1000), draw.uniform(10, 864_000)

    def patch() -> None:
        now, now_ns, looks = time.time, time.time_ns, [0]

        def jumped() -> float:
            looks[0] += 1
            return by if looks[0] > left else 0.0

        time.time = lambda: now() - jumped()
        time.time_ns = lambda: now_ns() - int(jumped() * 1e9)

    return patch


# From outside, while it runs: each gives what takes it back.


def kill(child: int, draw: random.Random, _place: Place) -> Callable[[], None]:
    """Kill the run, or one of its children where it has some."""
    there = psutil.Process(child).children(recursive=True)
    victim = draw.choice([child, *(process.pid for process in there)])
    with suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
    return lambda: None


def stop(child: int, draw: random.Random, _place: Place) -> Callable[[], None]:
    """Stop the run for a while."""
    os.kill(child, signal.SIGSTOP)
    time.sleep(draw.uniform(0.1, 2.0))
    os.kill(child, signal.SIGCONT)
    return lambda: None


def full_disk(_child: int, draw: random.Random, place: Place) -> Callable[[], None]:
    """Fill the disk up to a few bytes, until the run has ended."""
    ballast = place.disk / "ballast"
    state = os.statvfs(place.disk)
    size = max(0, state.f_bavail * state.f_frsize - draw.choice((0, 4_096, 20_000, 200_000)))
    with ballast.open("wb") as stream, suppress(OSError):
        os.posix_fallocate(stream.fileno(), 0, max(size, 1))
    return lambda: ballast.unlink(missing_ok=True)


def read_only(_child: int, draw: random.Random, place: Place) -> Callable[[], None]:
    """Take away the right to write in the run's folders, or in those of the cache."""
    top = draw.choice((place.run, place.cache))
    folders = [path for path in (top, *top.rglob("*")) if path.is_dir()] if top.is_dir() else []
    modes = {}
    for folder in folders:
        with suppress(FileNotFoundError):
            modes[folder] = folder.stat().st_mode
            folder.chmod(0o555)

    def back() -> None:
        for folder, mode in modes.items():
            with suppress(FileNotFoundError):
                folder.chmod(mode)

    return back


# Between two starts.


def damage(draw: random.Random, place: Place) -> str:
    """Spoil one stored file of the run or the cache; gives what was done."""
    files = sorted(
        path
        for top in (place.run, place.cache)
        for path in top.rglob("*")
        if path.is_file() and path.suffix in STORED and path.stat().st_size
    )
    if not files:
        return "nothing was stored"
    path, how = draw.choice(files), draw.choice(("one bit", "cut", "zeros", "gone", "empty"))
    data = bytearray(path.read_bytes())
    if how == "gone":
        path.unlink()
        return f"{path.relative_to(place.disk)}: {how}"
    if how == "one bit":
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif how == "zeros":
        begin = draw.randrange(len(data))
        data[begin:] = bytes(len(data) - begin)
    else:
        data = data[: draw.randrange(len(data)) if how == "cut" else 0]
    mode = path.stat().st_mode
    path.chmod(mode | 0o200)
    path.write_bytes(data)
    path.chmod(mode)
    return f"{path.relative_to(place.disk)}: {how}"


def bad_hub(draw: random.Random, place: Place) -> Callable[[], None]:
    """Spoil a few of the next answers of the Hub."""
    for _ in range(draw.randint(1, 6)):
        method, path = draw.choice(("GET", "POST", "PUT", "HEAD")), draw.choice(HUB_PATHS)
        if draw.random() < 0.4:
            status = draw.choice((401, 403, 404, 409, 412, 429, 500, 502, 503, 504))
            place.hub.fault(method, path, status=status, times=draw.randint(1, 3))
        else:
            place.hub.fault(method, path, draw.choice(HUB_FAULTS), times=draw.randint(1, 3))
    return place.hub.faults.clear


DURING = {"killed": kill, "stopped for a while": stop, "disk full": full_disk, "read-only": read_only}
BEFORE = {"few files": few_files, "clock back": clock_back}
