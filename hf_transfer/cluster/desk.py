"""The folder of a process that does pieces of work, and what it keeps from one to the next."""

import atexit
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hf_transfer import _guard  # noqa: F401


class Desk:
    """Where a process works.

    Attributes:
        folder: For what a piece of work writes; emptied after each.
        models: For the files of a base model that were sent.
    """

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="hf-transfer-node-"))
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


_DESKS: list[Desk] = []


def desk() -> Desk:
    """That of this process, which is made once."""
    if not _DESKS:
        _DESKS.append(Desk())
    return _DESKS[0]
