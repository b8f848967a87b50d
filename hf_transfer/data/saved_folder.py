"""Open folders that `save_to_disk` of `datasets` wrote; nothing outside of them is read."""

from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset, DatasetDict, load_from_disk

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import DataError
from hf_transfer.machine.parsing import parse_json
from hf_transfer.machine.paths import local_path, refuse_links, refuse_special

_SPLITS, _STATE = "dataset_dict.json", "state.json"


def is_saved(folder: Path) -> bool:
    """Whether a folder holds what `save_to_disk` writes."""
    return (folder / _SPLITS).is_file() or (folder / _STATE).is_file()


def load_saved(folder: Path, *, outside: bool = False) -> Dataset | DatasetDict:
    """Open such a folder.

    Args:
        folder: Absolute.
        outside: Whether its lists and links may lead out of it.

    Raises:
        DataError: If it is damaged, or a list or a link leads out of it.
    """
    for path in folder.rglob("*"):
        refuse_special(path)
        refuse_links([path], folder, outside=outside)
    try:
        _refuse_lists(folder, outside=outside)
        return load_from_disk(str(folder))
    except DataError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        raise DataError(
            f"{folder} is not a whole save_to_disk folder: {' '.join(str(error).split()).rstrip('.')}. Save "
            "it again."
        ) from error


def _refuse_lists(folder: Path, *, outside: bool) -> None:
    """Stop where the lists of splits and files name what is elsewhere."""
    parts = [folder]
    if (folder / _SPLITS).is_file():
        names = _content(folder / _SPLITS)["splits"]
        parts = [local_path(name, folder, outside=outside) for name in names]
    for part in parts:
        for file in _content(part / _STATE)["_data_files"]:
            refuse_special(local_path(file["filename"], part, outside=outside))


def _content(path: Path) -> dict[str, Any]:
    """What a list of the folder holds, which must be JSON that can be read."""
    content = parse_json(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise TypeError(f"{path.name} holds no object")
    return content
