"""Digests of files, bytes and JSON values."""

import hashlib
import json
from pathlib import Path
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.files import plain


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def bytes_digest(data: bytes, size: int = 16) -> str:
    """BLAKE2b digest of `size` bytes, in hexadecimal."""
    return hashlib.blake2b(data, digest_size=size).hexdigest()


def json_digest(value: Any, size: int = 16) -> str:
    """BLAKE2b digest of a JSON value; the order of a mapping counts."""
    return bytes_digest(json.dumps(plain(value)).encode(), size)
