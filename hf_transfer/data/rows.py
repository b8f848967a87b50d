"""Convert labelled rows to the columns that all tasks read."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, LargeList, List, Value

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.columns import (
    Columns,
    find_columns,
    folds,
    groups,
    named_labels,
    row_ids,
    separated,
    times,
    with_sets,
)
from hf_transfer.data.origins import Origin
from hf_transfer.errors import DataError
from hf_transfer.folds import hash_order
from hf_transfer.machine.mapped import ROWS_AT_ONCE
from hf_transfer.machine.wording import count, some
from hf_transfer.tasks import check_settings, task_of_kind
from hf_transfer.tasks.inputs.input import BadInput, Input
from hf_transfer.tasks.targets.choice import choose_target
from hf_transfer.tasks.targets.labels import LabelColumn
from hf_transfer.tasks.targets.target import Target
from hf_transfer.tasks.task import Task, Written


@dataclass(frozen=True)
class LabelledData:
    """Rows to cross-validate, with labels fixed once for all folds.

    Attributes:
        rows: Columns `row_id`, `input`, `label`, and `group`, `time`, `fold` where they are set.
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
        sealed: Rows set aside from `rows`, in no fold; see `seal_rows`.
        scheme: How the labels were written, where there are several ways.
        group_column: Where `group` was.
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
    group_column: str | None = None

    @property
    def input(self) -> Input:
        """What `input` holds."""
        return self.task.input

    @property
    def class_counts(self) -> dict[str, int]:
        """Number of rows of each label; for words, of entities of each type."""
        names, counts = self.target.tabled(self.rows["label"][:])
        return dict(zip(names, counts.sum(axis=0).tolist(), strict=True))


def label_rows(
    dataset: Dataset,
    config: RunConfig,
    task: type[Task] | str,
    *,
    test: Dataset | None = None,
    origin: Origin | None = None,
    target: type[Target] | None = None,
) -> LabelledData:
    """Check rows from memory, and convert them to the standard columns.

    Args:
        dataset: Rows to cross-validate.
        config: Of which the columns, `target`, `max_rows`, `on_bad_image`, `strict` and `seed` are used.
        task: What they are for, or what `--kind` calls its input.
        test: Rows to keep untouched; with the same columns.
        origin: Where the rows come from.
        target: What the labels are; read from them where that is not given.

    Raises:
        DataError: If rows, columns or labels cannot be used as they are.
        ConfigError: If a setting is given that such inputs have no use for.
    """
    origin = origin or Origin()
    task = task_of_kind(task) if isinstance(task, str) else task
    check_settings(config, task)
    parts = [with_sets(_plain(part), config) for part in (dataset, test) if part is not None]
    columns = find_columns(parts[0], named_labels(config), task)
    written = _as_written(parts, columns, task)
    parts = [one.rows for one in written]
    notes = [*columns.notes, *(note for one in written for note in one.notes)]
    inputs = [_inputs(part, columns, task.input, origin) for part in parts]
    given = _label_columns(parts, inputs, columns.label, config.label_separator)
    target = target or choose_target(given[0], task.targets, config.target)
    labels = target.read(given)
    rows = [
        _standard_rows(part, part_inputs, ids, columns, target.label_type())
        for part, part_inputs, ids in zip(parts, inputs, labels.ids, strict=True)
    ]
    notes += [note for part in rows for note in task.input.doubts(part)]
    rows = [_without_empty(part, config, task.input, notes) for part in rows]
    rows[0] = _first_rows(rows[0], config)
    rows = [_without_bad(part, config, task.input, notes) for part in rows]
    if not len(rows[0]):
        raise DataError(f"No row of {origin.name} is left. {' '.join(notes)}")
    return LabelledData(
        rows=rows[0],
        test=rows[1] if test is not None else None,
        label_names=labels.names,
        name=origin.name,
        config_name=origin.config_name,
        split=str(dataset.split or "train"),
        fingerprint=fingerprint(rows[0], task.input, labels.names),
        task=task,
        target=target(labels.names, config),
        notes=(*notes, *labels.notes),
        hub=origin.hub,
        input_column=columns.input,
        label_column=columns.label,
        scheme=written[0].scheme or labels.scheme,
        group_column=columns.group,
    )


def _plain(dataset: Any) -> Dataset:
    if isinstance(dataset, Mapping):
        names = list(dataset)
        listed = " and ".join(repr(name) for name in names)
        raise DataError(f"Expected one split, got a DatasetDict with {listed}. Pass dataset[{names[0]!r}].")
    if not isinstance(dataset, Dataset):
        raise DataError(
            f"Expected a datasets.Dataset, got {type(dataset).__name__}. Use Dataset.from_dict or from_list."
        )
    if not len(dataset):
        raise DataError("The dataset has no rows. Give at least two rows of two classes.")
    return dataset.with_format(None)


def _as_written(parts: Sequence[Dataset], columns: Columns, task: type[Task]) -> list[Written]:
    """Each part in columns that the task reads, however it was written."""
    for part in parts:
        for name in (columns.input, columns.label, columns.id):
            if name is not None and name not in part.column_names:
                which = "dataset has" if part is parts[0] else "test rows have"
                raise DataError(
                    f"The {which} no column {name!r}; their columns are {sorted(part.column_names)}."
                )
    return [task.as_written(part, columns.input, columns.label) for part in parts]


def _inputs(part: Dataset, columns: Columns, input: Input, origin: Origin) -> Dataset:
    if origin.hub and input.leads_away(part.features[columns.input]):
        raise DataError(f"Column {columns.input!r} of {origin.name} holds paths, which lead nowhere here.")
    return input.read(part, columns.input, folder=origin.folder, outside=origin.outside)


def _label_columns(
    parts: Sequence[Dataset], inputs: Sequence[Dataset], column: str, separator: str | None
) -> list[LabelColumn]:
    return [
        LabelColumn(
            values=separated(_values(part, column), separator),
            where=f"column {column!r}{' of the test rows' if number else ''}",
            declared=_declared(part.features[column]),
            inputs=of_part["input"],
            name=column,
        )
        for number, (part, of_part) in enumerate(zip(parts, inputs, strict=True))
    ]


def _values(part: Dataset, column: str) -> list[Any]:
    """All values of a column, with equal texts as one object, which saves memory."""
    seen: dict[str, str] = {}
    values = (value for batch in part.select_columns([column]).iter(ROWS_AT_ONCE) for value in batch[column])
    return [seen.setdefault(value, value) if isinstance(value, str) else value for value in values]


def _declared(feature: Any) -> tuple[str, ...] | None:
    feature = feature.feature if isinstance(feature, (List, LargeList)) else feature
    return tuple(feature.names) if isinstance(feature, ClassLabel) else None


def _standard_rows(
    part: Dataset, inputs: Dataset, labels: Sequence[Any], columns: Columns, label_type: Any
) -> Dataset:
    ids = row_ids(part, columns.id)
    whole = isinstance(ids, range) or all(isinstance(value, int) for value in ids)
    rows = inputs.add_column("row_id", list(ids), feature=Value("int64" if whole else "string"))
    rows = rows.add_column("label", labels, feature=label_type)
    if columns.group and columns.group in part.column_names:
        rows = rows.add_column("group", groups(part, columns.group), feature=Value("string"))
    if columns.time and columns.time in part.column_names:
        rows = rows.add_column("time", times(part, columns.time))
    if columns.fold and columns.fold in part.column_names:
        rows = rows.add_column("fold", folds(part, columns.fold))
    order = ["row_id", "input", "label", "group", "time", "fold"]
    return rows.select_columns([name for name in order if name in rows.column_names])


def _without_empty(rows: Dataset, config: RunConfig, input: Input, notes: list[str]) -> Dataset:
    empty = set(input.empty_rows(rows))
    if not empty:
        return rows
    ids = rows.select(sorted(empty))["row_id"][:]
    if config.strict:
        raise DataError(
            f"{count(len(ids), 'row')} {input.empty}: {some(ids)}. Fill them in, or leave strict out."
        )
    notes.append(f"{count(len(ids), 'row')} {input.empty} left out: {some(ids)}.")
    return rows.select([row for row in range(len(rows)) if row not in empty])


def _first_rows(rows: Dataset, config: RunConfig) -> Dataset:
    """Keep `max_rows` by the seeded hash of their ids, in the order they had."""
    if config.max_rows is None or config.max_rows >= len(rows):
        return rows
    chosen = hash_order(rows["row_id"][:], config.seed)[: config.max_rows]
    return rows.select(sorted(chosen.tolist()))


def _without_bad(rows: Dataset, config: RunConfig, input: Input, notes: list[str]) -> Dataset:
    bad = input.unreadable(rows)
    if not bad:
        return rows
    many = f"{count(len(bad), input.noun)} of {len(rows):,}"
    if config.on_bad_image == "fail":
        lines = [f"  {one.path or _row_name(rows, one)}: {one.reason}" for one in bad[:20]]
        more = [f"  … and {len(bad) - 20} more"] if len(bad) > 20 else []
        raise DataError(
            "\n".join([f"{many} cannot be read:", *lines, *more])
            + "\nMend or remove them, or pass --on_bad_image skip to leave them out."
        )
    names = [_short_name(one.path) if one.path else _row_name(rows, one) for one in bad]
    notes.append(f"{many} cannot be read, so left out: {', '.join(names)}.")
    positions = {one.position for one in bad}
    return rows.select([row for row in range(len(rows)) if row not in positions])


def _row_name(rows: Dataset, bad: BadInput) -> str:
    return f"row {rows[bad.position]['row_id']}"


def _short_name(path: str) -> str:
    """The last folder and the name, as notes are published on the card."""
    return "/".join(Path(path).parts[-2:])


def fingerprint(rows: Dataset, input: Input, label_names: Sequence[str]) -> str:
    """Hash the contents: `datasets`' own fingerprint changes with paths and versions."""
    digest = hashlib.sha256()
    _feed(digest, input.name, *label_names)
    for start in range(0, len(rows), 256):
        batch = rows[start : start + 256]
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
