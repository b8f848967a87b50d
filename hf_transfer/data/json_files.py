"""Read JSON and JSON Lines files as tables."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.data.annotations import as_row, plain_rows
from hf_transfer.data.text_files import read_text, refuse_names
from hf_transfer.errors import DataError
from hf_transfer.machine.parsing import parse_json

Read = tuple[pa.Table, tuple[str, ...]]  # the rows, and what to know of how they were read


def read_json_lines(path: Path) -> Read:
    """Read a file of one object a line, each a row.

    Raises:
        DataError: If a line is something else, with its number.
    """
    # Not splitlines(): texts may hold the other line ends of Unicode.
    lines = enumerate(read_text(path).split("\n"), 1)
    return _as_table([_parse_object(line, number, path) for number, line in lines if line.strip()], path)


def _parse_object(line: str, number: int, path: Path) -> dict[str, Any]:
    try:
        row = as_row(parse_json(line))
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path.name}, line {number} is not JSON: {error.msg}, at column {error.colno}."
        ) from error
    except ValueError as error:
        raise DataError(f"{path.name}, line {number} cannot be read: {error}. Write it otherwise.") from error
    if not isinstance(row, dict):
        raise DataError(
            f"{path.name}, line {number} is a {type(row).__name__}; each line must be an object, e.g. "
            '{"text": "…", "label": "…"}.'
        )
    return row


def read_json(path: Path) -> Read:
    """Read a file of a list of rows, alone or in an object, or of an object with a list for each column.

    Raises:
        DataError: If it holds something else.
    """
    try:
        content = parse_json(read_text(path))
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":  # JSON Lines under the name .json, as on much of the Hub
            return read_json_lines(path)
        raise DataError(f"{path.name}, line {error.lineno} is not JSON: {error.msg}.") from error
    except ValueError as error:
        raise DataError(f"{path.name} cannot be read: {error}. Write it otherwise.") from error
    if isinstance(content, dict):
        lists = [rows for value in content.values() if (rows := _records(value))]
        rows = lists[0] if len(lists) == 1 else None
    else:
        rows = _records(content)
    if rows:
        return _as_table(rows, path)
    if isinstance(content, dict) and content and all(isinstance(value, list) for value in content.values()):
        return _from_columns(content, path), ()
    raise DataError(
        f"{path.name} must hold a list of objects, or one object with a list for each column. For one "
        "object a line, name it .jsonl."
    )


def _records(value: Any) -> list[dict[str, Any]] | None:
    """The rows of a list, if that is what it is."""
    rows = [as_row(one) for one in value] if isinstance(value, list) else []
    return rows if rows and all(isinstance(row, dict) for row in rows) else None


def _from_columns(columns: Mapping[str, list[Any]], path: Path) -> pa.Table:
    refuse_names(list(columns), path)
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"The columns of {path.name} have different lengths: {lengths}.")
    return pa.table({name: _as_array(values, name, path) for name, values in columns.items()})


def _as_table(rows: Sequence[dict[str, Any]], path: Path) -> Read:
    rows, notes = plain_rows(rows, path.name)
    names = list(dict.fromkeys(name for row in rows for name in row))
    refuse_names(names, path)
    return pa.table({name: _as_array([row.get(name) for row in rows], name, path) for name in names}), notes


def _as_array(values: list[Any], name: str, path: Path) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
        raise DataError(
            f"Column {name!r} of {path.name} {_mixture(values) or f'cannot be read: {error}'}."
        ) from error


def _mixture(values: list[Any]) -> str | None:
    first: dict[type, int] = {}
    for row, value in enumerate(values):
        if value is not None:
            first.setdefault(type(value), row)
    if len(first) < 2:
        return None
    shown = [f"{values[row]!r} ({kind.__name__}) in row {row}" for kind, row in list(first.items())[:2]]
    return f"mixes types: {' and '.join(shown)}, the first row being 0. Write all values alike"
