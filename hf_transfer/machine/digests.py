"""Digests, by which contents are told apart."""

import hashlib
import json
from pathlib import Path
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.files import plain


def file_digest(path: Path) -> str:
    """Give the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def bytes_digest(data: bytes, size: int = 16) -> str:
    """Give a BLAKE2b digest of so many bytes, as hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=size).hexdigest()


def json_digest(value: Any, size: int = 16) -> str:
    """Give such a digest of what JSON can hold; of a mapping, its order counts."""
    return bytes_digest(json.dumps(plain(value)).encode(), size)
