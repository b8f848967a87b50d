"""Write rows with what a model said of each: CSV, JSON Lines or Parquet."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError
from hf_transfer.machine.files import make_folder, plain, table_bytes, write_bytes
from hf_transfer.machine.wording import count

# What is said of each label, and how a column of it is called where a cell holds one value.
_PER_LABEL = {"probabilities": "probability", "numbers": "number"}
_NOT_WRITTEN = {"input", "threshold"}  # the row itself, and what is the same for all rows


def check_output(output: str | Path, inputs: Sequence[str]) -> Path:
    """The path to write to, whose folder is made, before any work is done for it.

    Raises:
        ConfigError: If its ending is none that is written, it is a folder, or one of the inputs.
    """
    path = Path(output)
    if path.suffix.lower() not in _WRITERS:
        endings = ", ".join(_WRITERS)
        raise ConfigError(
            f"--output {str(output)!r} must end in one of {endings}, which says how to write it."
        )
    if path.is_dir():
        raise ConfigError(f"--output {path} is a folder. Give the path of a file.")
    if path.exists() and any(os.path.exists(one) and path.samefile(one) for one in inputs):  # noqa: PTH110
        raise ConfigError(
            f"--output {path} is the file that is read. Give another, so that it stays as it is."
        )
    make_folder(path.parent, "folder of --output")
    return path


def write_labelled(path: Path, rows: pa.Table, answers: Sequence[Mapping[str, Any]]) -> str:
    """Write rows with their answers; give a sentence for people that says what was written.

    The rows' own columns keep their names; an answer whose name is taken is called `predicted_…`.

    Args:
        path: Replaced, if it is there. Its ending says how to write.
        rows: The columns that came with each input.
        answers: What was said of each.
    """
    own = rows.column_names
    columns = _columns(answers, flat=path.suffix.lower() != ".jsonl")
    told = {
        name: values for name, values in columns.items() if name not in own or _differ(rows[name], values)
    }
    named = {f"predicted_{name}" if name in own else name: values for name, values in told.items()}
    data, left_out = _WRITERS[path.suffix.lower()](rows, named)
    write_bytes(path, data)
    said = f"{count(rows.num_rows, 'row')} in {path}, with {', '.join(named)}."
    without = ", ".join(map(repr, left_out))
    return f"{said} Without {without}: bytes are kept by .parquet only." if left_out else said


def _columns(answers: Sequence[Mapping[str, Any]], *, flat: bool) -> dict[str, list[Any]]:
    """The answers by name; with `flat`, what is said of each label in a column of its own."""
    lines = [dict(_flattened(answer) if flat else answer.items()) for answer in answers]
    names = dict.fromkeys(name for line in lines for name in line if name not in _NOT_WRITTEN)
    return {name: [line.get(name) for line in lines] for name in names}


def _flattened(answer: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in answer.items():
        if name in _PER_LABEL:
            yield from ((f"{_PER_LABEL[name]}_{label}", one) for label, one in value.items())
        else:
            yield name, value


def _differ(column: pa.ChunkedArray, values: list[Any]) -> bool:
    return bool(column.to_pylist() != values)


def _parquet(rows: pa.Table, answers: Mapping[str, list[Any]]) -> tuple[bytes, list[str]]:
    for name, values in answers.items():
        rows = rows.append_column(name, pa.array(values))
    return table_bytes(rows.replace_schema_metadata()), []


def _json_lines(rows: pa.Table, answers: Mapping[str, list[Any]]) -> tuple[bytes, list[str]]:
    kept, left_out = _without_bytes(rows)
    lines = [own | said for own, said in zip(kept, _lines(answers, rows.num_rows), strict=True)]
    text = "".join(f"{json.dumps(plain(line), ensure_ascii=False, default=str)}\n" for line in lines)
    return text.encode("utf-8", "backslashreplace"), left_out


def _csv(rows: pa.Table, answers: Mapping[str, list[Any]]) -> tuple[bytes, list[str]]:
    kept, left_out = _without_bytes(rows)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*(name for name in rows.column_names if name not in left_out), *answers])
    for own, said in zip(kept, _lines(answers, rows.num_rows), strict=True):
        writer.writerow([_cell(value) for value in (*own.values(), *said.values())])
    return stream.getvalue().encode("utf-8", "backslashreplace"), left_out


def _cell(value: Any) -> Any:
    """A value in one cell: lists and mappings as JSON."""
    return (
        json.dumps(plain(value), ensure_ascii=False, default=str) if isinstance(value, list | dict) else value
    )


def _lines(answers: Mapping[str, list[Any]], number: int) -> Iterator[dict[str, Any]]:
    return ({name: values[row] for name, values in answers.items()} for row in range(number))


def _without_bytes(rows: pa.Table) -> tuple[list[dict[str, Any]], list[str]]:
    left_out = [field.name for field in rows.schema if "binary" in str(field.type)]
    return rows.drop_columns(left_out).to_pylist(), left_out


_WRITERS: dict[str, Callable[[pa.Table, Mapping[str, list[Any]]], tuple[bytes, list[str]]]] = {
    ".csv": _csv, ".jsonl": _json_lines, ".parquet": _parquet,
}  # fmt: skip
