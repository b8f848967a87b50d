"""The place where a verb writes, before anything is computed."""

import os
from pathlib import Path

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError


def check_place(path: Path) -> None:
    """Refuse an output folder that is a file or may not be written to, there or to be made.

    Raises:
        ConfigError: Naming what is in the way.
    """
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not there.is_dir():
        raise ConfigError(f"output_dir={str(path)!r}: {there} is a file. Give a folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(
            f"output_dir={str(path)!r}: {there} may not be written to. Give a folder that you own."
        )
