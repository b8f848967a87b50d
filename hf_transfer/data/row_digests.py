"""A digest of the content of each row, by which rows are found again in other data."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from datasets import Dataset

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.digests import bytes_digest
from hf_transfer.tasks.inputs.input import Input

_AT_ONCE = 10_000  # rows
_BYTES = 8  # two of a million rows are alike by chance once in 37 million times


def row_digests(input: Input, rows: Dataset, kept: pa.Table | None = None) -> list[str]:
    """Digest of each row's input alone, equal where the audit calls two rows exact repeats.

    Pictures are decoded for it, unless their digests were kept: it is of their pixels. Texts count without
    case and spaces.

    Args:
        input: What the rows hold.
        rows: With the columns `input` and `row_id`, of which the latter is read where digests were kept.
        kept: What `kept_digests` gave for these rows and maybe others.
    """
    if kept is not None:
        of_id = dict(zip(*(kept[name].to_pylist() for name in ("row_id", "digest")), strict=True))
        return [of_id[row_id] for row_id in rows["row_id"]]
    digests: list[str] = []
    for start in range(0, len(rows), _AT_ONCE):  # what it finds beside the keys takes memory
        keys, _ = input.likeness([rows.select(range(start, min(start + _AT_ONCE, len(rows))))])
        digests += map(_digest, keys)
    return digests


def kept_digests(rows: Dataset, keys: Sequence[Any]) -> pa.Table | None:
    """Digests of rows by their `row_id`, so that nothing is decoded for them again; None if nothing was.

    Args:
        rows: Whose inputs do not change any more.
        keys: Of each, as `likeness` gives them; None of those that were not decoded.
    """
    if all(key is None for key in keys):
        return None
    digests = pa.array([None if key is None else _digest(key) for key in keys], pa.string())
    ids = rows.select_columns(["row_id"]).with_format("arrow")[:]
    return ids.append_column("digest", digests)


def _digest(key: Any) -> str:
    return bytes_digest(key if isinstance(key, bytes) else repr(key).encode(), _BYTES)
