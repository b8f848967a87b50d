"""Read the files of a run; errors say which file is wrong, and how."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
from jinja2 import TemplateError

from hf_transfer import __version__, _guard  # noqa: F401
from hf_transfer.errors import ConfigError, TransferError
from hf_transfer.machine.files import load_table
from hf_transfer.machine.parsing import parse_json
from hf_transfer.machine.paths import read_text
from hf_transfer.runs.schema import FORMAT_VERSION, ShapeError, from_json

T = TypeVar("T")

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
        return parse_json(read_text(path))
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path} is not readable as JSON ({error}). {AGAIN}") from error


def read_record(kind: type[T], path: Path) -> T:
    """Read a file that holds one record, of the format that this kit knows.

    Raises:
        ConfigError: If it is not JSON, of another format, or not of the record's shape.
    """
    value = read_json_file(path)
    if isinstance(value, dict) and (found := value.get("format_version")) != FORMAT_VERSION:
        has = "names no format" if found is None else f"is of format {str(found)[:20]}"
        wrote = str(value.get("kit_version", "which its results.json names"))[:40]
        raise ConfigError(
            f"{path} {has}, and this kit ({__version__}) reads format {FORMAT_VERSION}: run the recipe again "
            f"with --overwrite, or use the version of the kit that wrote it ({wrote})."
        )
    return shaped(kind, value, path)


def shaped(kind: type[T], value: Any, source: object) -> T:
    """Read a value of JSON as a record.

    Raises:
        ShapeError: Naming the part that is not of the record's shape.
    """
    try:
        return from_json(kind, value)  # type: ignore[no-any-return]
    except ShapeError as error:
        raise ShapeError(f"{source} is not as a run writes it: {error}. {AGAIN}") from error


def read_lines(kind: type[T], path: Path) -> list[T]:
    """Read a file of one record a line.

    Raises:
        ConfigError: If a line is not JSON or not such a record, with its number.
    """
    try:
        lines = read_text(path).split("\n")
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path} cannot be read ({error}). {AGAIN}") from error
    return [_parsed(kind, line, number, path) for number, line in enumerate(lines, 1) if line.strip()]


def _parsed(kind: type[T], line: str, number: int, path: Path) -> T:
    try:
        value = parse_json(line)
    except ValueError as error:
        raise ConfigError(f"{path}, line {number} is not JSON ({error}). {AGAIN}") from error
    return shaped(kind, value, f"{path}, line {number},")


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
        table = load_table(path)
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
