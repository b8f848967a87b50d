"""Encoded inputs such as pictures and sounds: bytes in memory, or a local file that holds one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError
from hf_transfer.machine.paths import special_file

Encoded = bytes | str | Path | Mapping[str, Any]
"""Bytes, a path, or a row's {"bytes", "path"}."""


def encoded_bytes(given: Encoded, noun: str) -> bytes:
    """Give the encoded bytes of an input, from memory or from its local file.

    Args:
        given: The input.
        noun: What one is called.

    Raises:
        DataError: If there is nothing, or the file cannot be read. The message is the reason alone.
    """
    if isinstance(given, Mapping):
        given = given.get("bytes") or given.get("path") or b""
    if isinstance(given, (str, Path)):
        if kind := special_file(Path(given)):
            raise DataError(f"it is {kind}, not a file")
        try:
            given = Path(given).read_bytes()
        except (OSError, ValueError) as error:  # the latter of a path with a zero byte
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"the file cannot be opened ({reason})") from error
        if not given:
            raise DataError("the file is empty")
    if not given:
        raise DataError(f"the row holds no {noun}")
    return given
