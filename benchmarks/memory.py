"""Memory of a process and its children, as Linux counts it."""

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS_BETWEEN_LOOKS = 0.02


@dataclass(frozen=True)
class Peak:
    """What a command took.

    Attributes:
        held: Most bytes that its processes held at one time, without pages of files mapped into memory:
            the system takes those back when it needs room.
        resident: The same with these pages.
        seconds: From start to end.
    """

    held: int
    resident: int
    seconds: float


def run_watched(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Peak:
    """Run a command to its end, and look at its memory all the while.

    Raises:
        RuntimeError: If it fails, with the end of what it said.
    """
    began, held, resident = time.monotonic(), 0, 0
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(command, env=dict(environment), stdout=stream, stderr=subprocess.STDOUT)
        while process.poll() is None:
            now = [_status(pid) for pid in _family(process.pid)]
            held = max(held, sum(part.get("RssAnon", 0) + part.get("RssShmem", 0) for part in now))
            resident = max(resident, sum(part.get("VmRSS", 0) for part in now))
            time.sleep(SECONDS_BETWEEN_LOOKS)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{log.read_text(encoding='utf-8')[-3000:]}")
    return Peak(held, resident, time.monotonic() - began)


def _family(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text(encoding="utf-8").split()
        except OSError:  # it has ended meanwhile
            continue
        for child in children:
            yield from _family(int(child))


def _status(pid: int) -> dict[str, int]:
    """Bytes of each kind of memory, by Linux's name for it; nothing of a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    words = [line.split() for line in lines if line.endswith(" kB")]
    return {word[0].rstrip(":"): int(word[1]) * 1024 for word in words}
