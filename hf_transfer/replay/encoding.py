"""Encode rows once for all folds, epochs and repeats, in a file that later runs reuse."""

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from accelerate import Accelerator

from hf_transfer import _guard  # noqa: F401
from hf_transfer.data.labelled import fingerprint as content_fingerprint
from hf_transfer.errors import DataError
from hf_transfer.machine.cache import cache_folder, intact, keep_digest, remove_unfinished
from hf_transfer.machine.digests import json_digest
from hf_transfer.machine.processes import first_of_machine_first
from hf_transfer.machine.progress import own_bars, progress_bar
from hf_transfer.tasks.task import Task

if TYPE_CHECKING:
    from datasets import Dataset

_ENCODING = 2  # raised where the same settings give other model inputs than the kit's last version made


def encode_rows(task: Task, rows: "Dataset", fingerprint: str, accelerator: Accelerator) -> "Dataset":
    """Encode all rows into model inputs; the main process does, and the others read its file.

    Args:
        task: Whose `encode` to call.
        rows: Columns `row_id`, `input` and `label`.
        fingerprint: Of the rows' content, from `fingerprint`.
        accelerator: Decides who goes first.

    Raises:
        DataError: If the rows are no longer those of the fingerprint, such as files that were changed.
    """
    key = _key(task, fingerprint, len(rows))
    path = cache_folder() / f"{key}.arrow"
    with first_of_machine_first(accelerator):
        path.parent.mkdir(parents=True, exist_ok=True)
        first = accelerator.is_local_main_process
        if first:
            remove_unfinished(path.parent)
        new = first and not (path.is_file() and intact(path))
        encoded = _mapped(task, rows, path, shown=first)
        if new:
            _check_unchanged(task, rows, fingerprint, path)
        return encoded


def _mapped(task: Task, rows: "Dataset", path: Path, *, shown: bool) -> "Dataset":
    """Encode rows in blocks into a file, or open the one that is there."""
    size = task.input.rows_at_once
    with own_bars(), progress_bar("encoding", total=len(rows), unit="row", shown=shown) as bar:
        return rows.map(
            _encode,
            batched=True,
            with_indices=True,
            batch_size=size,
            writer_batch_size=size,
            remove_columns=rows.column_names,
            fn_kwargs={"task": task, "bar": bar},
            cache_file_name=str(path),
            new_fingerprint=path.stem,
        )


def _check_unchanged(task: Task, rows: "Dataset", known: str, path: Path) -> None:
    """Keep what was encoded only if it is of the rows that were opened: files may change in between."""
    if content_fingerprint(rows, task.input, task.label_names) == known:
        if path.is_file():  # few rows stay in memory
            keep_digest(path)
        return
    path.unlink(missing_ok=True)
    raise DataError(
        f"The {task.input.nouns} changed after they were opened. Nothing of them was kept. "
        "See that nothing writes to them, and run again."
    )


def encode_values(task: Task, values: Sequence[Any]) -> "Dataset":
    """Encode new inputs in blocks; many of them go to an unnamed temporary file."""
    from hf_transfer.machine.mapped import mapped_rows

    parts = _encoded_parts(task, values)
    first = next(parts)
    batches = (batch for part in chain([first], parts) for batch in part.cast(first.schema).to_batches())
    return mapped_rows(batches, first.schema)


def _encoded_parts(task: Task, values: Sequence[Any]) -> Iterator[pa.Table]:
    from datasets import Dataset

    size = task.input.rows_at_once
    for start in range(0, len(values), size):
        some = values[start : start + size]
        encoded = task.encode({"input": list(some)}, range(start, start + len(some)))
        yield Dataset.from_dict(dict(encoded)).with_format("arrow")[:]


def _encode(rows: dict[str, list[Any]], positions: list[int], task: Task, bar: Any) -> dict[str, list[Any]]:
    encoded = task.encode(rows, positions)
    bar.update(len(positions))
    return encoded


def _key(task: Task, fingerprint: str, num_rows: int) -> str:
    """Cache key: equal for the same rows under the same processor."""
    parts = {
        "rows": [fingerprint, num_rows],
        "task": [task.name, task.target.name],
        "model": [task.base.name, task.base.revision, task.base.architecture],
        "settings": {name: getattr(task.settings, name) for name in task.input.encoded_by},
        "encoding": _ENCODING,
        "versions": [version(name) for name in ("transformers", "tokenizers", "pillow", "scipy")],
    }
    return json_digest(parts)
