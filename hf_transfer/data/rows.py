"""Convert labelled rows to the columns that all tasks read."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import ClassLabel, Dataset, LargeList, List, Value

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.config.run_config import RunConfig
from hf_transfer.config.setting import is_auto
from hf_transfer.data.columns import (
    Columns,
    find_columns,
    find_input,
    folds,
    groups,
    require,
    row_ids,
    times,
)
from hf_transfer.data.labelled import LabelledData, fingerprint
from hf_transfer.data.origins import Origin
from hf_transfer.data.row_digests import kept_digests
from hf_transfer.data.sources import with_sources
from hf_transfer.data.table_columns import find_table, table_names
from hf_transfer.data.uncertain import settle_uncertain, without_uncertain
from hf_transfer.errors import DataError
from hf_transfer.folds import hash_order
from hf_transfer.machine.mapped import ROWS_AT_ONCE
from hf_transfer.machine.progress import own_bars
from hf_transfer.machine.wording import columns_words, count, some
from hf_transfer.tasks import check_settings, task_of_kind
from hf_transfer.tasks.inputs.input import BadInput, Input, Opened
from hf_transfer.tasks.inputs.shared_texts import KeptTogether, keep_together, shared_with_test
from hf_transfer.tasks.targets.choice import choose_target
from hf_transfer.tasks.targets.labels import LabelColumn, NamedLabels
from hf_transfer.tasks.targets.several_columns import LabelColumns, separated
from hf_transfer.tasks.targets.target import Target
from hf_transfer.tasks.task import Task, Written

_IN_MEMORY = Origin()
_NO_LABEL = "no label"  # the column that stands for that of the labels where there are none


def label_rows(
    dataset: Dataset,
    config: RunConfig,
    task: type[Task] | str,
    *,
    test: Dataset | None = None,
    origin: Origin = _IN_MEMORY,
    target: type[Target] | Target | None = None,
) -> LabelledData:
    """Check rows from memory, and convert them to the standard columns.

    Args:
        dataset: Rows to cross-validate.
        config: Of which the columns, `target`, `max_rows`, `on_bad_image`, `strict` and `seed` are used.
        task: What they are for, or what `--kind` calls its input.
        test: Rows to keep untouched; with the same columns.
        origin: Where the rows come from.
        target: What the labels are; read from them when not given; an instance where rows have none.

    Raises:
        TransferError: If rows, columns or labels cannot be used as they are, or a setting by such inputs.
    """
    task = task_of_kind(task) if isinstance(task, str) else task
    if not isinstance(target, type | None):
        dataset, config = _without_labels(dataset, config)
    check_settings(config, task)
    opened = _opened([part for part in (dataset, test) if part is not None], config, task, origin)
    columns, written = _as_written(opened, config, task)
    parts = [part.rows for part in written]
    task, table_notes = _with_table(task, parts[0], columns, config)
    notes = [*_notes_of(opened), *columns.notes, *_notes_of(written), *table_notes]
    inputs = [_inputs(part, columns, task.input, origin) for part in parts]
    target, labels = _labels(_label_columns(parts, inputs, columns.label, config), target, config, task)
    rows = _standard_rows(parts, inputs, labels, columns, target, config)
    rows, digests, kept = _usable(rows, config, task.input, notes, origin.name)
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
        scheme=written[0].scheme or labels.scheme,
        **_read_from(columns, config) | _kept_for(opened[0], columns, kept, digests),
    )


def _with_table(
    task: type[Task], rows: Dataset, columns: Columns, config: RunConfig
) -> tuple[type[Task], tuple[str, ...]]:
    """The task for rows with these columns beside their inputs: those of a model, or those of the rows."""
    if task.input.table:
        return task, ()
    table, notes = find_table(rows, columns, config)
    return task.with_table(table), notes


def _labels(
    columns: Sequence[LabelColumn], target: type[Target] | Target | None, config: RunConfig, task: type[Task]
) -> tuple[type[Target], NamedLabels]:
    """What the labels are, and those of each part; stand-ins where there are none."""
    if not isinstance(target, type | None):
        stand_ins = tuple([target.unlabelled] * len(column.values) for column in columns)
        return type(target), NamedLabels(target.label_names, stand_ins)
    target = target or choose_target(columns[0], task.targets, config.wanted_target)
    return target, target.read(columns)


def _without_labels(dataset: Dataset, config: RunConfig) -> tuple[Dataset, RunConfig]:
    """Rows with a column of empty labels, and settings that name it."""
    rows = _plain(dataset)
    with own_bars():
        rows = rows.add_column(_NO_LABEL, [""] * len(rows), feature=Value("string"))
    nothing: dict[str, Any] = {"label_columns": (), "label_separator": None, "uncertain": None}
    return rows, replace(config, label_column=_NO_LABEL, **nothing)


def _read_from(columns: Columns, config: RunConfig) -> dict[str, Any]:
    """Where inputs, labels, groups and sites were, as `LabelledData` calls it."""
    return {
        "input_column": columns.input,
        "label_column": columns.label,
        "label_columns": config.label_columns or (columns.label,),
        "grouped_by": columns.group,
        "site_column": columns.site,
    }


def _kept_for(
    opened: Opened, columns: Columns, kept: KeptTogether, digests: Sequence[pa.Table | None]
) -> dict[str, Any]:
    """Why rows stay in one fold, and the digests of each part, as `LabelledData` calls it."""
    return {
        "kept_by": kept.by,
        "fold_notes": (*opened.fold_notes, *columns.fold_notes, *kept.notes),
        "digests": digests[0],
        "test_digests": digests[-1],
    }


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
        raise DataError("The dataset has no rows. Give two or more, of two classes if they have labels.")
    return dataset.with_format(None)


def _notes_of(parts: Sequence[Opened] | Sequence[Written]) -> list[str]:
    return [note for part in parts for note in part.notes]


def _settled(
    parts: Sequence[Dataset], config: RunConfig, task: type[Task]
) -> list[tuple[Dataset, tuple[str, ...]]]:
    """Each part with its uncertain labels decided; see `settle_uncertain`."""
    names, asks = config.label_columns, True
    if not names:
        # What else is named may be said by the files alone, which are not open yet.
        plain = replace(config, id_column=None, group_by=None, site_column=None, scheme="auto")
        names = (find_columns(parts[0], plain, task).label,)
        asks = task.input.marks_uncertain and is_auto(config.target)
    return [settle_uncertain(part, names, config, asks=asks) for part in parts]


def _opened(parts: Sequence[Dataset], config: RunConfig, task: type[Task], origin: Origin) -> list[Opened]:
    """Rows of one input each, with the columns that are needed to read their labels."""
    settled = _settled([_plain(part) for part in parts], config, task)
    parts = [part for part, _ in settled]
    for part, marked in product(parts, config.label_columns):
        require(part, marked, "label_columns")
    several = LabelColumns.of(parts[0], config)
    parts = [several.joined(part) for part in parts]
    column, _ = find_input(parts[0], several.named(config), task)
    names = task.input.columns_of(column)
    there = [part for part in parts if {*names} <= {*part.column_names}]  # the others are told of later
    for part in there:
        if origin.hub and any(task.input.leads_away(part.features[name]) for name in names):
            raise DataError(f"Column {column!r} of {origin.name} holds paths, which lead nowhere here.")
    place: dict[str, Any] = {"folder": origin.folder, "outside": origin.outside}
    opened = [task.input.opened(part, column, config=config, **place) for part in there]
    opened += [Opened(part) for part in parts[len(there) :]]
    return [
        replace(one, notes=(*doubts, *one.notes)) for one, (_, doubts) in zip(opened, settled, strict=True)
    ]


def _as_written(
    opened: Sequence[Opened], config: RunConfig, task: type[Task]
) -> tuple[Columns, list[Written]]:
    """Where the inputs and labels are, and each part as the task reads it, however it was written."""
    parts, found = [part.rows for part in opened], opened[0]
    named = replace(config, id_column=found.id_column, group_by=found.group_by, site_column=found.site_column)
    columns = find_columns(parts[0], LabelColumns(config.label_columns).named(named), task)
    for part in parts:
        for name in (*task.input.columns_of(columns.input), columns.label, columns.id):
            if name is not None and name not in part.column_names:
                which = "dataset has" if part is parts[0] else "test rows have"
                raise DataError(
                    f"The {which} no column {name!r}; their columns are {sorted(part.column_names)}."
                )
    return columns, [task.as_written(part, columns.input, columns.label) for part in parts]


def _inputs(part: Dataset, columns: Columns, input: Input, origin: Origin) -> Dataset:
    return input.read(part, columns.input, folder=origin.folder, outside=origin.outside)


def _label_columns(
    parts: Sequence[Dataset], inputs: Sequence[Dataset], column: str, config: RunConfig
) -> list[LabelColumn]:
    return [
        LabelColumn(
            values=separated(_values(part, column), config.label_separator),
            where=f"{columns_words(config.label_columns or (column,))}{' of the test rows' * (number > 0)}",
            declared=_declared(part.features[column]),
            inputs=of_part["input"],
            name=column,
            names=config.label_columns,
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
    parts: Sequence[Dataset],
    inputs: Sequence[Dataset],
    labels: NamedLabels,
    columns: Columns,
    target: type[Target],
    config: RunConfig,
) -> list[Dataset]:
    label_type, used = target.label_type(labels.names), {columns.label, *config.label_columns}
    used |= {*table_names(config.table_columns, parts[0].column_names)}
    each = zip(parts, inputs, labels.ids, strict=True)
    rows = [_standard_part(*part, columns, label_type) for part in each]
    rows[0] = with_sources(rows[0], parts[0], (*columns.inputs, *used))
    return [without_uncertain(*pair) for pair in zip(rows, parts, strict=True)]


def _standard_part(
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
    if columns.site and columns.site in part.column_names:
        rows = rows.add_column("site", groups(part, columns.site, "site"), feature=Value("string"))
    order = ["row_id", "input", "label", "group", "time", "fold", "site"]
    return rows.select_columns([name for name in order if name in rows.column_names])


def _usable(
    parts: Sequence[Dataset], config: RunConfig, input: Input, notes: list[str], name: str
) -> tuple[list[Dataset], list[pa.Table | None], KeptTogether]:
    """Leave out rows without an input, those beyond `max_rows`, and unreadable pictures; note each.

    Returns:
        The rows, grouped by what they hold where they must share a fold for it, the digests of those that
        were decoded, and what is known of the groups.
    """
    filled = [_without_empty(part, config, input, notes) for part in parts]
    filled[0] = _first_rows(filled[0], config)
    notes += [note for part in filled for note in input.doubts(part)]
    usable, digests = map(
        list, zip(*(_without_bad(part, config, input, notes) for part in filled), strict=True)
    )
    if not len(usable[0]):
        raise DataError(f"No row of {name} is left. {' '.join(notes)}")
    notes += _shared_groups(usable)
    kept = _kept_together(usable, config, input, notes)
    usable[0] = _grouped(usable[0], kept)
    return usable, digests, kept


def _shared_groups(parts: Sequence[Dataset]) -> list[str]:
    """Warn of groups that are among the test rows and among those to train on."""
    of_parts = [set(part["group"][:]) for part in parts if "group" in part.column_names]
    shared = set.intersection(*of_parts) if len(of_parts) > 1 else set()
    if not shared:
        return []
    num_rows = sum(group in shared for group in parts[1]["group"][:])
    return [
        f"{count(len(shared), 'group')} of the {len(of_parts[1]):,} in the test rows "
        f"({count(num_rows, 'row')}) is also in the rows to train on, so that the test score is too good."
    ]


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


def _without_bad(
    rows: Dataset, config: RunConfig, input: Input, notes: list[str]
) -> tuple[Dataset, pa.Table | None]:
    """Rows whose inputs can be read, and the digests of those that were decoded for it."""
    keys: list[Any] = [None] * len(rows)
    bad = input.unreadable(rows, keys.__setitem__)
    digests = kept_digests(rows, keys)
    if not bad:
        return rows, digests
    many = f"{count(len(bad), input.noun)} of {len(rows):,}"
    if config.on_bad_image == "fail":
        lines = [f"  {one.path or _row_name(rows, one)}: {one.reason}" for one in bad[:20]]
        more = [f"  … and {len(bad) - 20} more"] if len(bad) > 20 else []
        raise DataError(
            "\n".join([f"{many} cannot be read:", *lines, *more])
            + "\nMend or remove them, or pass --on_bad_image skip to leave them out."
        )
    names = [_short_name(one.path) if one.path and not one.private else _row_name(rows, one) for one in bad]
    notes.append(f"{many} cannot be read, so left out: {', '.join(names)}.")
    positions = {one.position for one in bad}
    return rows.select([row for row in range(len(rows)) if row not in positions]), digests


def _kept_together(
    parts: Sequence[Dataset], config: RunConfig, input: Input, notes: list[str]
) -> KeptTogether:
    """Find which rows must share a fold for what they hold, and what test rows share with them; note both."""
    rows, links = parts[0], [own for part in parts if (own := input.links(part))]
    if not links:
        return KeptTogether(None, ())
    notes.extend(note for of_test in links[1:] for note in shared_with_test(links[0], of_test))
    given = rows["group"][:] if "group" in rows.column_names else None
    kept = keep_together(links[0], given, config) or KeptTogether(None, ())
    notes.extend(kept.notes)
    return kept


def _grouped(rows: Dataset, kept: KeptTogether) -> Dataset:
    """Rows with a group for those that must share a fold for what they hold."""
    if kept.groups is None:
        return rows
    others = rows.remove_columns([name for name in ("group",) if name in rows.column_names])
    with own_bars():
        return others.add_column("group", list(kept.groups), feature=Value("string"))


def _row_name(rows: Dataset, bad: BadInput) -> str:
    return f"row {rows[bad.position]['row_id']}"


def _short_name(path: str) -> str:
    """The last folder and the name, as notes are published on the card."""
    return "/".join(Path(path).parts[-2:])
