"""Read new inputs for a model as training reads its rows: on the command line, in files, in folders."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import Kind
from hf_transfer.data.data_files import SUFFIXES, read_file, read_text
from hf_transfer.data.image_folder import pictures_below
from hf_transfer.data.inputs import standard_inputs
from hf_transfer.errors import DataError
from hf_transfer.machine.wording import count
from hf_transfer.tasks.inputs.pictures import scan_pictures


def read_new_inputs(given: Sequence[str], kind: Kind, column: str) -> tuple[list[str], list[Any]]:
    """Read the inputs to label.

    Args:
        given: Pictures, folders of them, or texts themselves; or files of any of them: .txt with a text a
            line, or a format that training reads.
        kind: What the model takes.
        column: Where the inputs are in a file of rows.

    Returns:
        What to call each input, and each as a task encodes it.

    Raises:
        DataError: If there is nothing, or something is not usable.
    """
    if kind == "image":
        return _pictures(given, column)
    texts = [text for word in given for text in _texts(word, kind, column)]
    if not texts:
        raise DataError(f"No texts in {', '.join(given)}.")
    if kind == "tokens":
        return texts, [text.split() if isinstance(text, str) else text for text in texts]
    return texts, texts


def _pictures(given: Sequence[str], column: str) -> tuple[list[str], list[Any]]:
    names: list[str] = []
    pictures: list[Any] = []
    for word in given:
        path = Path(word)
        if not path.exists():
            raise DataError(
                f"No such picture or folder: {path.absolute()}. Give paths of pictures, or of folders or "
                "files of them."
            )
        if path.suffix.lower() in SUFFIXES and path.is_file():
            rows = _rows(path, "image", column)
            pictures += rows
            names += [(row or {}).get("path") or f"{path}, row {n}" for n, row in enumerate(rows)]
            continue
        paths = [str(one) for one in (pictures_below(path) if path.is_dir() else [path])]
        pictures += [{"bytes": None, "path": one} for one in paths]
        names += paths
    if not pictures:
        raise DataError(f"No pictures in {', '.join(given)}.")
    if bad := scan_pictures(Dataset.from_dict({"input": pictures})):
        first = f"{names[bad[0].position]}: {bad[0].reason}"
        raise DataError(f"{count(len(bad), 'picture')} cannot be read. The first: {first}.")
    return names, pictures


def _texts(word: str, kind: Kind, column: str) -> list[Any]:
    """A text itself, or the texts in a file: lines of .txt, or the model's input column."""
    path = Path(word)
    if path.suffix.lower() not in {".txt", *SUFFIXES}:
        return [word]
    if not path.is_file():
        raise DataError(f"No such file: {path.absolute()}.")
    if path.suffix.lower() == ".txt":
        return [line for line in read_text(path).splitlines() if line.strip()]
    return _rows(path, kind, column)


def _rows(path: Path, kind: Kind, column: str) -> list[Any]:
    rows = read_file(path)
    if column not in rows.column_names:
        there_are = ", ".join(repr(name) for name in rows.column_names)
        raise DataError(f"No column {column!r} in {path.name}; it has {there_are}. Rename one.")
    if kind == "tokens" and getattr(rows.features[column], "dtype", None) == "string":
        kind = "text"  # sentences that nobody has split into words yet
    folder = Path(os.path.abspath(path)).parent  # noqa: PTH100  (resolve() would follow links)
    return list(standard_inputs(rows, column, kind, folder=folder)["input"])
