"""A digest of the content of each row, by which rows are found again in other data."""

from datasets import Dataset

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.digests import bytes_digest
from hf_transfer.tasks.inputs.input import Input

_AT_ONCE = 10_000  # rows
_BYTES = 8  # two of a million rows are alike by chance once in 37 million times


def row_digests(input: Input, rows: Dataset) -> list[str]:
    """Digest of each row's input alone, equal where the audit calls two rows exact repeats.

    Pictures are decoded for it: it is of their pixels. Texts count without case and spaces.

    Args:
        input: What the rows hold.
        rows: With the column `input`.
    """
    digests: list[str] = []
    for start in range(0, len(rows), _AT_ONCE):  # what it finds beside the keys takes memory
        keys, _ = input.likeness([rows.select(range(start, min(start + _AT_ONCE, len(rows))))])
        digests += (
            bytes_digest(key if isinstance(key, bytes) else repr(key).encode(), _BYTES) for key in keys
        )
    return digests
