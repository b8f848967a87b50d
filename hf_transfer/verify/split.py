"""Rebuild the folds from what the rows were split by."""

from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from hf_transfer import _guard  # noqa: F401
from hf_transfer.folds import first_repeat, fold_table, split_arrays
from hf_transfer.machine.wording import fold_key
from hf_transfer.runs.aggregate import class_counts, group_part, split_part
from hf_transfer.verify.check import Check, column_differences, differences, judged, places, rows_of
from hf_transfer.verify.record import Record


def split_checks(record: Record) -> Iterator[Check]:
    """Rebuild the folds, and compare the scored rows with the split ones."""
    yield judged("folds", "made again from the seed, row for row", lambda: _folds(record))
    yield judged(
        "split", "scheme, number of folds and fingerprint are those of the folds", lambda: _said(record)
    )
    yield judged("labels", "the labels scored are those that the rows were split by", lambda: _labels(record))


def _folds(record: Record) -> Iterator[str]:
    again = fold_table(record.plans, *record.split)
    yield from column_differences(record.fold_table, again, "folds.parquet")


def _said(record: Record) -> Iterator[str]:
    uids, columns = record.split
    again = split_part(record.plans, uids)
    yield from differences({key: getattr(record.results, key) for key in again}, again, "")
    yield from differences(record.results.dataset.num_rows, len(uids), "dataset.num_rows")
    if record.results.dataset.num_groups is not None:  # which older runs do not say
        groups = group_part(columns)
        yield from differences(
            {name: getattr(record.results.dataset, name) for name in groups}, groups, "dataset"
        )
    yield from differences(record.results.dataset.class_counts, _class_counts(record), "dataset.class_counts")
    notes = [note for plan in record.plans for note in plan.notes]
    yield from (f"notes: lack {note!r}" for note in notes if note not in record.results.notes)


def _class_counts(record: Record) -> Mapping[str, int]:
    """Number of rows of each class: by the split, or for tags by all predictions of the first repeat."""
    uids, columns = record.split
    if columns.labels is not None:
        return class_counts(columns.labels, record.target.id_names)
    rows = first_repeat(record.predictions)
    # Not all rows are there if a fold failed, or if the first block is never held out.
    if rows.num_rows < len(uids):
        return record.results.dataset.class_counts
    return class_counts(record.target.read_back(rows), record.target.id_names)


def _labels(record: Record) -> Iterator[str]:
    """Compare labels, mentions and groups of each scored row with those it was split by."""
    split = first_repeat(record.fold_table)
    split = split.rename_columns(["unit" if name == "group" else name for name in split.column_names])
    repeats = record.predictions["repeat"]
    for repeat in pc.unique(repeats).to_pylist():
        scored = _scored(record, record.predictions.filter(pc.equal(repeats, repeat)), split)
        for place in places(scored):
            rows = rows_of(scored, *place).drop_columns(["repeat", "fold"])
            positions = pc.index_in(rows["row_id"], value_set=split["row_id"])
            split_by = split.select(rows.column_names).take(positions)
            yield from column_differences(rows, split_by, f"predictions.parquet, {fold_key(*place)}")


def _scored(record: Record, rows: pa.Table, split: pa.Table) -> pa.Table:
    """The columns of one repeat's predictions that the split has too."""
    scored = rows.select(
        ["row_id", "repeat", "fold", *(name for name in ["unit"] if name in split.column_names)]
    )
    if rows.num_rows < split.num_rows and record.target.scales:
        return scored  # bins are of all rows together
    columns = record.target.balance({"label": record.target.read_back(rows)})
    for name, values in split_arrays(columns).items():
        if name in split.column_names:
            scored = scored.append_column(name, values)
    return scored
