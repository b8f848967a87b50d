"""Keep the paths that a data set names within its folder, and what a run writes within its own."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path, PureWindowsPath
from typing import Any

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import ConfigError, DataError


def hub_folder(name: str) -> Path:
    """The folder in which the Hub's client keeps the files of a data set."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(os.path.abspath(HF_HUB_CACHE), f"datasets--{name.replace('/', '--')}")  # noqa: PTH100


def _homes(folder: Path) -> tuple[Path, ...]:
    """A data set's folder; of one of the Hub also where `datasets` puts what it downloads and unpacks."""
    if not folder.name.startswith("datasets--") or folder != hub_folder(folder.name[10:]):
        return (folder,)
    from datasets.config import DOWNLOADED_DATASETS_PATH

    return folder, Path(os.path.abspath(DOWNLOADED_DATASETS_PATH))  # noqa: PTH100


def is_utf_8(text: str) -> bool:
    """Whether a name can be written: for other bytes Python has letters that nothing can write."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def utf_8(path: Path) -> str:
    """The text of a path, which tables and records can hold.

    Raises:
        DataError: If its bytes are no UTF-8, as old archives leave them.
    """
    text = str(path)
    if not is_utf_8(text):
        raise DataError(
            f"The name of {text!r} is not UTF-8, so that no table can hold it. Rename it, e.g. by convmv."
        )
    return text


def local_path(name: Any, folder: Path, *, outside: bool = False) -> Path:
    r"""Resolve the path of a picture or a sound that a file in `folder` names.

    Paths that Windows wrote, such as `images\1.png`, are read where no file has such a name.

    Args:
        name: What the file says.
        folder: Absolute, without `..`.
        outside: Whether it may leave the folder.

    Raises:
        DataError: If it is a web address, is of a drive of Windows, or leaves the folder: a data file must
            not reach elsewhere.
    """
    text = str(name)
    if "://" in text or text.startswith("data:"):
        raise DataError(f"{text!r} is a web address; download the files and give paths inside {folder.name}.")
    path = Path(os.path.normpath(folder / text))
    if "\x00" in text:
        raise DataError(f"The path {text!r} has a zero byte, as no file's name has. Fix the list of files.")
    if "\\" in text and not os.path.exists(path):  # noqa: PTH110  (Path.exists() raises for long names)
        windows = PureWindowsPath(text)
        if windows.drive:
            raise DataError(
                f"The path {text!r} is of a drive of Windows, which is not here. Give paths relative to "
                f"{folder.name}, such as {windows.name!r}."
            )
        path = Path(os.path.normpath(folder / windows.as_posix()))
    if not outside and not any(home in path.parents for home in _homes(folder)):
        raise DataError(
            f"The path {text!r} leaves the folder {folder.name}; only what is inside it is read. Give the "
            "folder that holds all as --dataset, or pass --allow_outside if you trust the list."
        )
    return path


def refuse_links(paths: Iterable[Path], folder: Path, *, outside: bool = False) -> None:
    """Stop at a link that leads out of a data set's folder, as its target may be private.

    The Hub's own cache is made of links to its store; these are let through.

    Args:
        paths: What is read.
        folder: The data set's.
        outside: Whether links may lead out.

    Raises:
        DataError: Naming the link and where it leads.
    """
    homes = [Path(os.path.realpath(home)) for home in _homes(folder)]
    for path in paths:
        real = Path(os.path.realpath(path))
        stored = real.parent.name == "blobs" and homes[0].is_relative_to(real.parent.parent)
        if not (outside or stored or any(map(real.is_relative_to, homes))):
            name = path.relative_to(folder) if path.is_relative_to(folder) else path
            raise DataError(
                f"{name} in {folder.name} is a link to {real}, which is outside. Copy "
                "the files there, give the folder that holds both as --dataset, or pass --allow_outside."
            )


def refuse_folders_elsewhere(run: Path) -> None:
    """Stop at a link in a run's folder that leads to a folder elsewhere, which writing would go through.

    Raises:
        ConfigError: Naming the link and where it leads.
    """
    home = os.path.realpath(run)
    for place, folders, _ in os.walk(run):
        for path in (Path(place, name) for name in folders):
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(home):
                raise ConfigError(
                    f"{path} is a link to {os.path.realpath(path)}, and a run writes only inside its own "
                    "folder. Remove the link, or put the folder itself there."
                )


def special_file(path: Path) -> str | None:
    """What a path leads to that is neither a file nor a folder: reading it could wait, or go on, for ever."""
    kinds = {
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    try:
        return kinds.get(stat.S_IFMT(path.stat().st_mode))
    except (OSError, ValueError):  # there is nothing; the latter of a path with a zero byte
        return None


def read_text(path: Path) -> str:
    """Read a UTF-8 text.

    Raises:
        OSError: If it cannot be read, or is no file.
        ValueError: If it is not UTF-8.
    """
    if kind := special_file(path):
        raise OSError(f"it is {kind}, not a file")
    return path.read_text(encoding="utf-8")


def refuse_special(path: Path) -> None:
    """Stop at a pipe, a socket or a device.

    Raises:
        DataError: Saying which it is.
    """
    if kind := special_file(path):
        raise DataError(f"{path} is {kind}, not a file. Write what comes from it to a file first.")
