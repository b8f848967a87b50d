"""Write the files that came back from a node into the run's folder, each fold's whole or not at all."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import RunError
from hf_transfer.machine.files import new_folder, write_files

DONE = "done.json"  # of a fold, and of the final model: says that the files beside it are whole
MODEL = "model"  # a folder that is replaced as one


def write_arrived(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files by their paths in the run's folder: models first, and what says that all is there last.

    Raises:
        RunError: If a path leads out of the run's folder.
    """
    models: defaultdict[PurePosixPath, dict[str, bytes]] = defaultdict(dict)
    plain: dict[Path, bytes] = {}
    for name, content in files.items():
        path = _inside(name)
        if MODEL in path.parts:
            cut = path.parts.index(MODEL) + 1
            models[PurePosixPath(*path.parts[:cut])]["/".join(path.parts[cut:])] = content
        else:
            plain[folder / path] = content
    for place, inside in models.items():
        with new_folder(folder / place, sum(map(len, inside.values()))) as new:
            for name, content in inside.items():
                (new / name).parent.mkdir(parents=True, exist_ok=True)
                (new / name).write_bytes(content)
    for written in plain:
        written.parent.mkdir(parents=True, exist_ok=True)
    if plain:
        write_files(dict(sorted(plain.items(), key=lambda item: item[0].name == DONE)))


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in path.parts[0]:
        raise RunError(
            f"A node sent a file {name!r}, which leads out of the run's folder. Nothing of it was kept."
        )
    return path
