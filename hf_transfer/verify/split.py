"""Rebuild the folds from what the rows were split by."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from hf_transfer import _guard  # noqa: F401
from hf_transfer.folds import first_repeat, fold_table
from hf_transfer.machine.wording import fold_key
from hf_transfer.runs.aggregate import class_counts, split_part
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
    uids, _ = record.split
    again = split_part(record.plans, uids)
    yield from differences({key: record.results.get(key) for key in again}, again, "")
    yield from differences(record.results["dataset"]["num_rows"], len(uids), "dataset.num_rows")
    yield from differences(
        record.results["dataset"]["class_counts"], _class_counts(record), "dataset.class_counts"
    )
    notes = [note for plan in record.plans for note in plan.notes]
    yield from (f"notes: lack {note!r}" for note in notes if note not in record.results["notes"])


def _class_counts(record: Record) -> dict[str, int]:
    """Of labels, from the split; of tags, from the rows of the first repeat, when none is missing."""
    uids, columns = record.split
    if columns.labels is not None:
        return class_counts(columns.labels, record.label_names)
    rows = first_repeat(record.predictions)
    # Not all rows are there if a fold failed, or if the first block is never held out.
    if rows.num_rows < len(uids) or "labels" not in rows.column_names:
        return record.results["dataset"]["class_counts"]  # type: ignore[no-any-return]
    ids = {name: i for i, name in enumerate(record.label_names)}
    return class_counts(
        [[ids[tag] for tag in tags] for tags in rows["labels"].to_pylist()], record.label_names
    )


def _labels(record: Record) -> Iterator[str]:
    """Compare labels, mentions and groups of each scored row with those it was split by."""
    split = first_repeat(record.fold_table)
    split = split.rename_columns(["unit" if name == "group" else name for name in split.column_names])
    for place in places(record.predictions):
        rows = rows_of(record.predictions, *place)
        scored = pa.table({"row_id": rows["row_id"]} | dict(_scored(rows, split)))
        at = pc.index_in(rows["row_id"], value_set=split["row_id"])
        of_split = split.select(scored.column_names).take(at)
        yield from column_differences(scored, of_split, f"predictions.parquet, {fold_key(*place)}")


def _scored(rows: pa.Table, split: pa.Table) -> Iterator[tuple[str, Any]]:
    """What of the predictions the split holds too."""
    for name in ("label", "unit"):
        if name in split.column_names:
            yield name, rows[name]
    if "mentions" in split.column_names:
        kinds = [kind.name for kind in split.schema.field("mentions").type]
        tags = [[tag for tag in sentence if tag.startswith("B-")] for sentence in rows["labels"].to_pylist()]
        yield "mentions", [{kind: row.count(f"B-{kind}") for kind in kinds} for row in tags]
