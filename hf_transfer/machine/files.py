"""Write files and folders whole or not at all, with one clear error when the disk is full."""

import errno
import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError, DiskFullError
from hf_transfer.machine.lock import is_alive
from hf_transfer.machine.wording import size_words

_FULL = (errno.ENOSPC, errno.EDQUOT)
# What libraries say of a full disk in errors that carry no number.
_FULL_WORDS = ("No space left on device", "Disk quota exceeded", "enforce fail at inline_container")
_TEMPORARY = re.compile(r"\..+\.(\d+)\.tmp")


def temporary(path: Path) -> Path:
    """Temporary path for writing `path`; `remove_stale` recognises it."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically: readers see the old file or the new one."""
    write_bytes(path, json_bytes(value))


def write_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file atomically."""
    write_bytes(path, table_bytes(table))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically: under a temporary name first, then renamed.

    Raises:
        DiskFullError: If there is no room; a file that was there stays as it was.
    """
    write_files({path: data})


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write several files under temporary names, then rename all of them in order.

    A disk confirms several files that are asked for together in little more time than one.

    Raises:
        DiskFullError: If there is no room; files that were there stay as they were.
    """
    beside = {path: temporary(path) for path in contents}
    with enough_disk(next(iter(contents)).parent, sum(map(len, contents.values()))):
        try:
            with ThreadPoolExecutor(len(contents)) as pool:
                list(pool.map(_write_through, beside.values(), contents.values()))
            for path, written in beside.items():
                written.replace(path)
        except BaseException:
            for written in beside.values():
                written.unlink(missing_ok=True)
            raise


def _write_through(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def json_bytes(value: Any) -> bytes:
    """Encode a value as JSON; numpy numbers become plain ones, and NaN becomes null."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def table_bytes(table: pa.Table) -> bytes:
    """Encode a table as Parquet."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def load_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file, whatever its folder is called.

    pyarrow alone takes the start of `last:1/` for a protocol, and `x=1/` for a column.

    Args:
        path: The file.
        columns: Which to read; None reads all.
    """
    with pa.OSFile(os.fsencode(path)) as stream, pq.ParquetFile(stream) as file:
        return file.read(columns)


@contextmanager
def new_folder(folder: Path, needed: int | None = None) -> Iterator[Path]:
    """Yield an empty folder that replaces `folder` once everything in it is on the disk.

    What was at that place before is then removed. If writing fails, it stays.

    Args:
        folder: The place.
        needed: Bytes, where that is known.

    Raises:
        DiskFullError: If there is no room.
    """
    beside = temporary(folder)
    shutil.rmtree(beside, ignore_errors=True)
    with enough_disk(folder.parent, needed):
        beside.mkdir(parents=True)
        try:
            yield beside
            _settle(beside)
            _put_in_place(beside, folder)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise


def _settle(folder: Path) -> None:
    """Flush all files of a folder to the disk, and set their permissions by the umask."""
    mode = folder.stat().st_mode & 0o666
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)  # safetensors leaves 0600, whatever the umask says
        sync(path)
    sync(folder)


def _put_in_place(beside: Path, folder: Path) -> None:
    old = temporary(folder.with_name(f"{folder.name}.old"))
    if folder.exists():
        folder.rename(old)
    beside.rename(folder)
    sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def make_folder(folder: Path, setting: str = "output_dir") -> None:
    """Make a folder to write results to, with its parents, before anything is computed for it.

    Args:
        folder: Which may be there.
        setting: What names it, for the message.

    Raises:
        ConfigError: If it cannot be made, or may not be written to; it says why.
        DiskFullError: If there is no room.
    """
    try:
        with enough_disk(folder):
            folder.mkdir(parents=True, exist_ok=True)
    except DiskFullError:
        raise
    except OSError as error:
        raise ConfigError(
            f"{setting}={str(folder)!r} cannot be made ({error.strerror}). Give another folder."
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{setting}={str(folder)!r} may not be written to. Give a folder that you own.")


def sync(path: Path) -> None:
    """Flush a file, or a folder's list of names, to the disk."""
    windows = os.name == "nt"
    if windows and path.is_dir():
        return  # Windows opens no folder, and brings names to the disk by itself
    number = os.open(path, os.O_RDWR if windows else os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def reserve(path: Path) -> None:
    """Allocate the disk space of a sparse file, so that a full disk shows now and not later.

    Raises:
        OSError: If there is no room.
    """
    size = path.stat().st_size
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, size)
    elif os.name != "nt":  # Windows has taken the space already: its files have no holes unless asked for
        check_room(path.parent, size)


def remove_stale(folder: Path) -> list[Path]:
    """Remove temporary files whose writers are gone; return their paths."""
    removed = []
    for path in folder.rglob(".*.tmp"):
        name = _TEMPORARY.fullmatch(path.name)
        # A number like this process's own is that of an older one: this one has written nothing yet.
        if name and (int(name[1]) == os.getpid() or not is_alive(int(name[1]))):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
            removed.append(path)
    return removed


@contextmanager
def enough_disk(folder: Path, needed: int | None = None) -> Iterator[None]:
    """Turn every library's error for a full disk into `DiskFullError`.

    Args:
        folder: What is written to.
        needed: Bytes, where that is known.

    Raises:
        DiskFullError: Naming the folder, what is needed and what is free.
    """
    try:
        yield
    except Exception as error:  # that of tokenizers is of no narrower class
        if isinstance(error, DiskFullError) or not is_disk_full(error):
            raise
        raise DiskFullError(full_words(folder, needed)) from error


def check_room(folder: Path, needed: int) -> None:
    """Stop before the work if its result would not fit on the disk.

    A file system without a size, such as /proc, is not full: writing there fails for its own reason.

    Raises:
        DiskFullError: If it will not.
    """
    disk = shutil.disk_usage(_existing(folder))
    if disk.total and disk.free < needed:
        raise DiskFullError(full_words(folder, needed))


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error or one of its causes means that the disk or the quota is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        if any(words in str(error) for words in _FULL_WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


def full_words(folder: Path, needed: int | None = None) -> str:
    """Say that there is no room at a folder, and what to do."""
    wanted = f"{size_words(needed)} needed, " if needed else ""
    free = size_words(shutil.disk_usage(_existing(folder)).free)
    return (
        f"Not enough room on the disk at {folder.absolute()}: {wanted}{free} free. Finished work is "
        "kept. Make room there (`hf-transfer cache --clear` may help), and run the same command again to "
        "resume."
    )


def _existing(folder: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    folder = folder.absolute()
    return folder if folder.exists() else _existing(folder.parent)


def plain(value: Any) -> Any:
    """Turn numpy scalars, tuples and NaN into values for JSON and YAML."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
