"""Digests of the files of a finished unit, in its own done.json: a bit that flips later is seen. No torch."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError
from hf_transfer.machine.digests import bytes_digest, json_digest
from hf_transfer.runs.reading import read_json_file, read_record

T = TypeVar("T")

DONE = "done.json"
_OWN = "digest"  # of all that done.json says beside it


def with_digests(record: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, Any]:
    """What done.json holds, with a digest of each file beside it and of itself.

    Args:
        record: Plain values.
        files: Content of each, by its name.
    """
    told = {**record, "files": {name: bytes_digest(content) for name, content in files.items()}}
    return told | {_OWN: json_digest({name: value for name, value in told.items() if name != _OWN})}


def changed_files(done: Path) -> list[str] | None:
    """Names of the files that are not as done.json tells; None where an earlier version kept no digests."""
    try:
        told = read_json_file(done)
    except ConfigError:
        return [done.name]
    if not isinstance(told, dict):
        return [done.name]
    if not isinstance(told.get("files"), dict) or not told.get(_OWN):
        return None
    own = json_digest({name: value for name, value in told.items() if name != _OWN})
    changed = [done.name] if own != told[_OWN] else []
    return changed + [name for name, digest in told["files"].items() if _digest(done, name) != digest]


def read_whole(kind: type[T], done: Path, called: str) -> T | None:
    """Read the done.json of a unit; None if it is not there, or damaged, which is said.

    Args:
        kind: Of the record.
        done: The file.
        called: The unit, for the message.
    """
    if not done.is_file():
        return None
    changed = changed_files(done)
    try:
        if not changed:
            return read_record(kind, done)
    except ConfigError:
        pass
    what = ", ".join(str(done.parent / name) for name in changed or [done.name])
    print(f"{called} is made again: {what} is damaged or gone.", file=sys.stderr)
    return None


def _digest(done: Path, name: str) -> str | None:
    path = done.parent / Path(name).name  # never a file elsewhere
    return bytes_digest(path.read_bytes()) if path.is_file() else None
