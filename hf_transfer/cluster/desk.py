"""The folder of a process that does pieces of work, and what it keeps from one to the next."""

import atexit
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.lock import is_alive

_PREFIX = "hf-transfer-node-"


class Desk:
    """Where a process works; what ended ones left is removed, as a cluster ends its processes without notice.

    Attributes:
        folder: For what a piece of work writes; emptied after each.
        models: For the files of a base model that were sent.
    """

    def __init__(self) -> None:
        _remove_left()
        self.root = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self.folder, self.models = self.root / "run", self.root / "model"
        self._kept: tuple[str, Any] | None = None
        atexit.register(shutil.rmtree, self.root, ignore_errors=True)

    def kept(self, key: str, make: Callable[[], Any]) -> Any:
        """What the work before made under a key; made now where that was another."""
        if self._kept is None or self._kept[0] != key:
            self._kept = None  # before the next is made, as both may not fit in memory
            shutil.rmtree(self.models, ignore_errors=True)
            self._kept = key, make()
        return self._kept[1]

    def empty(self) -> None:
        """Remove what the last work wrote."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def files(self) -> dict[str, bytes]:
        """The bytes of all files that were written, by their paths in the folder."""
        paths = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in paths}


def _remove_left() -> None:
    """Remove the folders of processes of this machine that have ended."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        name = re.fullmatch(rf"{_PREFIX}(\d+)-\w+", path.name)
        if name and not is_alive(int(name[1])):
            shutil.rmtree(path, ignore_errors=True)


_DESKS: list[Desk] = []


def desk() -> Desk:
    """That of this process, which is made once."""
    if not _DESKS:
        _DESKS.append(Desk())
    return _DESKS[0]
