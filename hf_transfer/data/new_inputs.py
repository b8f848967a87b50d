"""Read new inputs for a model as training reads its rows: on the command line, in files, in folders."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from hf_transfer import _guard  # noqa: F401
from hf_transfer.data.data_files import SUFFIXES, read_file
from hf_transfer.data.image_folder import pictures_below
from hf_transfer.data.text_files import read_text
from hf_transfer.errors import DataError
from hf_transfer.machine.wording import count
from hf_transfer.tasks.inputs.input import Input


def read_new_inputs(given: Sequence[str], input: Input, column: str) -> tuple[list[str], list[Any]]:
    """Read the inputs to label.

    Args:
        given: Pictures, folders of them, or texts themselves; or files of any of them: .txt with a text a
            line, or a format that training reads.
        input: What the model takes.
        column: Where the inputs are in a file of rows.

    Returns:
        What to call each input, and each as a task encodes it.

    Raises:
        DataError: If there is nothing, or something is not usable.
    """
    if input.suffixes:
        return _files(given, input, column)
    found = [one for word in given for one in _texts(word, input, column)]
    if not found:
        raise DataError(f"No texts in {', '.join(given)}.")
    return [name for name, _ in found], [value for _, value in found]


def _files(given: Sequence[str], input: Input, column: str) -> tuple[list[str], list[Any]]:
    """Inputs that lie in a file each, and their paths."""
    names: list[str] = []
    values: list[Any] = []
    for word in given:
        path = Path(word)
        if not path.exists():
            raise DataError(
                f"No such {input.noun} or folder: {path.absolute()}. Give paths of {input.nouns}, or of "
                "folders or files of them."
            )
        if path.suffix.lower() in SUFFIXES and path.is_file():
            rows = _rows(path, input, column)
            values += rows
            names += [(row or {}).get("path") or f"{path}, row {n}" for n, row in enumerate(rows)]
            continue
        paths = [str(one) for one in (pictures_below(path) if path.is_dir() else [path])]
        values += [{"bytes": None, "path": one} for one in paths]
        names += paths
    if not values:
        raise DataError(f"No {input.nouns} in {', '.join(given)}.")
    if bad := input.unreadable(Dataset.from_dict({"input": values})):
        first = f"{names[bad[0].position]}: {bad[0].reason}"
        raise DataError(f"{count(len(bad), input.noun)} cannot be read. The first: {first}.")
    return names, values


def _texts(word: str, input: Input, column: str) -> list[tuple[Any, Any]]:
    """A text itself, or the texts in a file: lines of .txt, or the model's input column.

    Each is given twice: what to call it, and as an input.
    """
    path = Path(word)
    if path.suffix.lower() not in {".txt", *SUFFIXES}:
        return [(word, input.from_text(word))]
    if not path.is_file():
        raise DataError(f"No such file: {path.absolute()}.")
    if path.suffix.lower() == ".txt":
        return [(line, input.from_text(line)) for line in read_text(path).splitlines() if line.strip()]
    return [(value, value) for value in _rows(path, input, column)]


def _rows(path: Path, input: Input, column: str) -> list[Any]:
    rows, _ = read_file(path)
    if column not in rows.column_names:
        there_are = ", ".join(repr(name) for name in rows.column_names)
        raise DataError(f"No column {column!r} in {path.name}; it has {there_are}. Rename one.")
    folder = Path(os.path.abspath(path)).parent  # noqa: PTH100  (resolve() would follow links)
    return input.read_new(rows, column, folder=folder)
