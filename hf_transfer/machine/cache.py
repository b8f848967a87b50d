"""The cache on disk: encoded rows, and the stored output of frozen layers."""

import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.digests import file_digest
from hf_transfer.machine.files import sync, write_bytes, write_json
from hf_transfer.machine.lock import is_alive
from hf_transfer.machine.wording import size_words

_QUIET = 3600.0  # seconds: rows are encoded in blocks of seconds, so a file this old has no writer


def cache_folder() -> Path:
    """Folder of encoded rows, and of what was computed from them."""
    import datasets

    return Path(datasets.config.HF_DATASETS_CACHE) / "hf-transfer-kit"


def stores_folder() -> Path:
    """Folder of the stored output of frozen layers."""
    return cache_folder() / "frozen-layers"


@dataclass(frozen=True)
class CacheFile:
    """A file of encoded rows, as listed."""

    path: Path
    num_bytes: int
    last_used: float

    @property
    def finished(self) -> bool:
        """Whether the file is complete; `datasets` renames it only then."""
        return self.path.suffix == ".arrow"

    @property
    def being_written(self) -> bool:
        """Whether a process may still be writing the file; `datasets` does not record which one."""
        return not self.finished and time.time() - self.last_used < _QUIET

    def remove(self) -> None:
        """Delete the file and its digest; a run that has it open keeps reading."""
        self.path.unlink(missing_ok=True)
        _digest_file(self.path).unlink(missing_ok=True)


def keep_digest(path: Path, of: Path | None = None) -> None:
    """Write the digest of a finished file beside it, by which `intact` knows it again.

    Args:
        path: Of the file.
        of: Where it lies now, if it gets its name later.
    """
    write_bytes(_digest_file(path), file_digest(of or path).encode())
    _INTACT[path] = _state(of or path)  # a file keeps its inode when it gets its name


def intact(path: Path) -> bool:
    """Whether a finished file still has the digest it was made with; looked at once a process.

    A file with another is removed, which is said on standard error; so is one that has none.
    """
    if _INTACT.get(path) == _state(path):
        return True
    digest = _digest_file(path)
    known = digest.read_text(encoding="utf-8") if digest.is_file() else None
    if known == file_digest(path):
        _INTACT[path] = _state(path)
        return True
    if known is not None:
        print(f"{path} is not as it was written, and is made again.", file=sys.stderr)
    path.unlink(missing_ok=True)
    digest.unlink(missing_ok=True)
    return False


_INTACT: dict[Path, tuple[int, int, int]] = {}  # files that were looked at, as they were then


def _state(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def _digest_file(path: Path) -> Path:
    return path.with_suffix(".sha256")


@dataclass(frozen=True)
class StoreEntry(CacheFile):
    """A file of stored features."""

    @property
    def finished(self) -> bool:
        """Whether the file is complete."""
        return not self.path.name.startswith(".")

    @property
    def being_written(self) -> bool:
        """Whether the process that writes the file still runs on this machine."""
        return not self.finished and self.writer is not None and is_alive(self.writer)

    @property
    def writer(self) -> int | None:
        """The process that writes an unfinished file."""
        number = self.path.stem.rpartition(".")[2]
        return int(number) if number.isdigit() else None

    @property
    def about(self) -> dict[str, Any]:
        """Description of the content; empty if unknown."""
        try:
            about = json.loads(self.path.with_suffix(".json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return about if isinstance(about, dict) else {}

    def remove(self) -> None:
        """Delete the file and its description; a run that has it open keeps reading."""
        super().remove()
        self.path.with_suffix(".json").unlink(missing_ok=True)


@dataclass(frozen=True)
class StoreFolder:
    """The folder of stored features, and its size limit.

    Attributes:
        path: The folder.
        limit: Bytes.
    """

    path: Path
    limit: float

    def file(self, key: str) -> Path:
        """Path of a finished store."""
        return self.path / f"{key}.npy"

    def unfinished(self, key: str) -> Path:
        """Path of the store that this process is writing."""
        return self.path / f".{key}.{os.getpid()}.npy"

    def finish(self, unfinished: Path, key: str, about: Mapping[str, Any]) -> None:
        """Rename a written store to its final name, which marks it as complete."""
        sync(unfinished)
        write_json(self.path / f"{key}.json", dict(about) | {"created": time.time()})
        keep_digest(self.file(key), unfinished)
        unfinished.replace(self.file(key))
        sync(self.path)

    def found(self, key: str) -> bool:
        """Whether there is a finished store, and it is as it was written."""
        return self.file(key).is_file() and intact(self.file(key))

    def used(self, key: str) -> None:
        """Record that a store was used just now; the least recently used one is removed first."""
        path = self.file(key)
        os.utime(path)
        if path in _INTACT:
            _INTACT[path] = _state(path)

    def make_room(self, needed: float) -> str | None:
        """Remove the least recently used stores until enough space is free; return why, if that fails."""
        self.path.mkdir(parents=True, exist_ok=True)
        if needed > self.limit:
            return f"they take {size_words(needed)}, more than cache_gb={self.limit / 1e9:g}"
        self._tidy()
        entries = self.entries()
        finished = [entry for entry in entries if entry.finished]
        kept, busy = _sum(finished), _sum(entries) - _sum(finished)
        if busy + needed > self.limit:
            return (
                f"they take {size_words(needed)}, and other runs are writing {size_words(busy)} of "
                f"cache_gb={self.limit / 1e9:g}"
            )
        free = shutil.disk_usage(self.path).free
        if needed > 0.9 * (free + kept):
            return f"they take {size_words(needed)}, and only {size_words(free + kept)} of disk are free"
        for entry in finished:
            if kept + busy + needed > self.limit or needed > 0.9 * free:
                entry.remove()
                kept, free = kept - entry.num_bytes, free + entry.num_bytes
        return None

    def _tidy(self) -> None:
        """Remove unfinished files whose writers are gone."""
        for entry in self.entries():
            # This process writes one store at a time: what it began before, it has given up.
            if not entry.finished and (not entry.being_written or entry.writer == os.getpid()):
                entry.remove()

    def entries(self) -> list[StoreEntry]:
        """All stores, least recently used first."""
        stores = [StoreEntry(*seen) for path in self.path.glob("*.npy") for seen in _looked_at(path)]
        return sorted(stores, key=lambda entry: entry.last_used)


def encoded_rows(folder: Path) -> list[CacheFile]:
    """All files of encoded rows, oldest first.

    Args:
        folder: What `cache_folder` gives.
    """
    paths = [*folder.glob("*.arrow"), *folder.glob("tmp*")]  # `datasets` writes to tmp… first
    files = [CacheFile(*seen) for path in paths for seen in _looked_at(path)]
    return sorted(files, key=lambda entry: entry.last_used)


def remove_unfinished(folder: Path) -> None:
    """Remove incomplete files of encoded rows that no process is writing.

    Args:
        folder: What `cache_folder` gives.
    """
    for entry in encoded_rows(folder):
        if not entry.finished and not entry.being_written:
            entry.remove()


def clear(folder: Path) -> tuple[int, list[Path]]:
    """Empty the cache, except for files that a process is still writing.

    Args:
        folder: What `cache_folder` gives.

    Returns:
        The bytes that are free now, and the files that stay.
    """
    stores = StoreFolder(folder / "frozen-layers", 0)
    freed, left = 0, []
    for entry in (*stores.entries(), *encoded_rows(folder)):
        if entry.being_written:
            left.append(entry.path)
        else:
            entry.remove()
            freed += entry.num_bytes
    for pattern in ("frozen-layers/*.json", "frozen-layers/*.sha256", "*.sha256"):
        for about in folder.glob(pattern):  # of a file that somebody deleted by hand
            about.unlink(missing_ok=True)
    return freed, left


def _sum(entries: Iterable[StoreEntry]) -> int:
    return sum(entry.num_bytes for entry in entries)


def _looked_at(path: Path) -> list[tuple[Path, int, float]]:
    """Path, size and modification time of a file; empty if another process has removed it."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return []
    return [(path, status.st_size, status.st_mtime)] if path.is_file() else []
