"""Labelled rows, and the fingerprint of their contents."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from datasets import Dataset

from hf_transfer import _guard  # noqa: F401
from hf_transfer.data.row_digests import row_digests
from hf_transfer.tasks.inputs.input import Input
from hf_transfer.tasks.targets.target import Target
from hf_transfer.tasks.task import Task


@dataclass(frozen=True)
class LabelledData:
    """Rows to cross-validate, with labels fixed once for all folds.

    Attributes:
        rows: Columns `row_id`, `input`, `label`, and `group`, `time`, `fold`, `site` where they are set, and
            `sources` where anything may say which rows belong together.
        test: Rows of the same columns that are scored once, by the final model.
        label_names: In the order of the ids in `label`.
        name: Hub id, builtin:NAME, or the name of a file or folder.
        config_name: Configuration of a Hub dataset.
        split: Split that `rows` come from.
        fingerprint: Hash of ids, contents and labels in order; the same on every machine.
        task: What they are for: its input says what `input` holds.
        target: What kind of labels they are.
        notes: What was left out or chosen, a sentence each.
        hub: Whether `name` is a Hub id.
        input_column: Where `input` was.
        label_column: Where `label` was.
        label_columns: The same, or the columns that were joined for it.
        sealed: Rows set aside from `rows`, in no fold; see `seal_rows`.
        scheme: How the labels were written, where there are several ways.
        grouped_by: Column that `group` was read from.
        site_column: Column that `site` was read from.
        kept_by: What rows of one `group` have in common, where that is something that they hold.
        fold_notes: Those notes that tell what stays in one fold, which mean nothing without folds.
        digests: Of the rows that were decoded as they were opened, `sealed` ones too; see `kept_digests`.
        test_digests: Of the test rows.
    """

    rows: Dataset
    test: Dataset | None
    label_names: tuple[str, ...]
    name: str
    config_name: str | None
    split: str
    fingerprint: str
    task: type[Task]
    target: Target
    notes: tuple[str, ...]
    hub: bool
    input_column: str
    label_column: str
    sealed: Dataset | None = None
    scheme: str = ""
    grouped_by: str | None = None
    site_column: str | None = None
    kept_by: str | None = None
    fold_notes: tuple[str, ...] = ()
    label_columns: tuple[str, ...] = ()
    digests: pa.Table | None = field(default=None, repr=False)
    test_digests: pa.Table | None = field(default=None, repr=False)

    @property
    def input(self) -> Input:
        """What `input` holds."""
        return self.task.input

    def row_digests(self, part: Dataset) -> list[str]:
        """Digest of each row's input, of rows, sealed or test rows; nothing is decoded for it once more."""
        kept = self.test_digests if part is self.test else self.digests
        return row_digests(self.input, part, kept)

    @property
    def class_counts(self) -> dict[str, int]:
        """Number of rows of each label; for words, of entities of each type."""
        names, counts = self.target.tabled(self.rows["label"][:])
        return dict(zip(names, counts.sum(axis=0).tolist(), strict=True))


def fingerprint(rows: Dataset, input: Input, label_names: Sequence[str]) -> str:
    """Hash the contents: `datasets`' own fingerprint changes with paths and versions."""
    digest = hashlib.sha256()
    _feed(digest, input.name, *label_names)
    if input.table:
        _feed(digest, repr(input.table))
    for start in range(0, len(rows), input.rows_at_once):
        batch = rows[start : start + input.rows_at_once]
        for row_id, content, label in zip(batch["row_id"], batch["input"], batch["label"], strict=True):
            _feed(digest, str(row_id))
            _feed(digest, *input.content(content))
            _feed(digest, *(str(one) for one in _as_list(label)))
    return digest.hexdigest()


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _feed(digest: "hashlib._Hash", *parts: str | bytes) -> None:
    """Hash parts with their number and lengths, so that different lists never collide."""
    digest.update(len(parts).to_bytes(8, "big"))
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
