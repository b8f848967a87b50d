"""Read the files of a run; errors say which file is wrong, and how."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from jinja2 import TemplateError

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError, TransferError
from hf_transfer.machine.parsing import parse_json

AGAIN = "Run the recipe again, or get the file again from where it comes."

# What values that no run writes make the code raise that reads them; most of Arrow's errors are ValueErrors.
BROKEN = (
    KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError, StopIteration,
    RecursionError, NotImplementedError, pa.ArrowException, TemplateError,
)  # fmt: skip


def read_json_file(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ConfigError: If it is not JSON.
    """
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path} is not readable as JSON ({error}). {AGAIN}") from error


def read_json_lines(path: Path) -> list[Any]:
    """Read a file with one JSON value a line.

    Raises:
        ConfigError: If a line is not JSON, with its number.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path} cannot be read ({error}). {AGAIN}") from error
    return [_parsed(line, number, path) for number, line in enumerate(lines, 1) if line.strip()]


def _parsed(line: str, number: int, path: Path) -> Any:
    try:
        return parse_json(line)
    except ValueError as error:
        raise ConfigError(f"{path}, line {number} is not JSON ({error}). {AGAIN}") from error


def read_table(path: Path, columns: Sequence[str] = ()) -> pa.Table:
    """Read a run's Parquet file.

    Args:
        path: The file.
        columns: Names that it must have.

    Raises:
        ConfigError: If it is not there, not whole, or lacks a column.
    """
    if not path.is_file():
        raise ConfigError(f"{path.absolute()} is not there. {AGAIN}")
    try:
        # Without partitioning, or a folder called x=1 above would add a column x.
        table = pq.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} is not a whole Parquet file: {reason}. {AGAIN}") from error
    if lacking := [name for name in columns if name not in table.column_names]:
        raise ConfigError(
            f"{path} lacks {', '.join(map(repr, lacking))}; it has {', '.join(table.column_names)}. {AGAIN}"
        )
    return table


def place_inside(run: Path, name: str) -> Path:
    """Resolve a path from results.json, which must stay in the run's folder.

    Raises:
        ConfigError: If it lies elsewhere: a run that somebody else made must not reach out of its folder.
    """
    path = Path(os.path.normpath(run / name))
    if not path.is_relative_to(os.path.normpath(run)):
        raise ConfigError(f"{run / 'results.json'} names {name!r}, which is not in its folder. {AGAIN}")
    return path


@contextmanager
def damage_told(run: object) -> Iterator[None]:
    """Turn errors from inconsistent values into one that says a file of the run was changed.

    Args:
        run: What the run is called.

    Raises:
        ConfigError: In the place of the error that such values led to.
    """
    try:
        yield
    except TransferError:
        raise
    except BROKEN as error:
        what = f"there is no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise ConfigError(
            f"The files of {run} do not fit together: {what[:300]} ({type(error).__name__}). One of them was "
            f"changed, or is of another version. {AGAIN}"
        ) from error
