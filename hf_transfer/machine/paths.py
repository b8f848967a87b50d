"""Keep the paths that a data set names within its folder."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import DataError


def local_path(name: Any, folder: Path) -> Path:
    """Resolve the path of a picture that a file in `folder` names.

    Args:
        name: What the file says.
        folder: Absolute, without `..`.

    Raises:
        DataError: If it is a web address or leaves the folder: a data file must not reach elsewhere.
    """
    text = str(name)
    if "://" in text or text.startswith("data:"):
        raise DataError(
            f"{text!r} is a web address; download the pictures and give paths inside {folder.name}."
        )
    path = Path(os.path.normpath(folder / text))
    if "\x00" in text:
        raise DataError(f"The path {text!r} has a zero byte, as no file's name has. Fix the list of files.")
    if folder not in path.parents:
        raise DataError(
            f"The path {text!r} leaves the folder {folder.name}; only pictures inside it are read."
        )
    return path


def refuse_links(paths: Iterable[Path], folder: Path) -> None:
    """Stop at a link that leads out of a data set's folder, as its target may be private.

    The Hub's own cache is made of links to its store; these are let through.

    Raises:
        DataError: Naming the link and where it leads.
    """
    home = Path(os.path.realpath(folder))
    for path in paths:
        real = Path(os.path.realpath(path))
        stored = real.parent.name == "blobs" and home.is_relative_to(real.parent.parent)
        if not (real.is_relative_to(home) or stored):
            raise DataError(
                f"{path.relative_to(folder)} in {folder.name} is a link to {real}, which is outside. Copy "
                "the files there, or give the folder that holds both as --dataset."
            )
