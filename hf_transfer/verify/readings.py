"""Check that each held-out row was scored once, and that the stored predictions are those."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.folds import ids_at
from hf_transfer.machine.wording import count, fold_key
from hf_transfer.runs.fold_result import FoldResult, KeptFold
from hf_transfer.runs.held_out import table_digest
from hf_transfer.runs.reading import read_record
from hf_transfer.runs.unit_files import DONE, changed_files
from hf_transfer.verify.check import Check, column_differences, differences, judged, left_out, places
from hf_transfer.verify.record import Record


def reading_checks(record: Record) -> Iterator[Check]:
    """Check that every fold is there, and that its rows were read once, for these predictions."""
    yield judged("rows", "each fold's predictions are for the rows that it held out", lambda: _rows(record))
    yield judged(
        "single read", "held-out rows of each finished fold were scored once", lambda: _ledger(record)
    )
    if any(record.folder.glob("folds/**/done.json")):
        yield judged("fold folders", "say the same as results.json", lambda: _folders(record))
        yield _files(record)
    else:
        yield left_out("fold folders", "not there: they are not published")


def _rows(record: Record) -> Iterator[str]:
    uids, _ = record.split
    wanted = [fold_key(*name) for name in record.names]
    for config, folds in record.entries.items():
        listed = [fold_key(fold.repeat, fold.fold) for fold in folds]
        yield from differences(listed, wanted, _within(record, config))
        for fold in folds:
            rows = record.stored(config, fold.repeat, fold.fold)
            if rows is not None:
                held_out = record.plans[fold.repeat].valid(fold.fold)
                wanted_ids = ids_at(uids, held_out if fold.status == "done" else held_out[:0])
                again = pa.table({"row_id": pa.array(wanted_ids, rows["row_id"].type)})
                title = f"predictions of {_title(record, config, fold)}"
                yield from column_differences(rows.select(["row_id"]), again, title)
    known = {(fold.repeat, fold.fold) for fold in record.results.folds}
    yield from (
        f"predictions.parquet has rows of {fold_key(*place)}, which results.json does not list"
        for place in places(record.predictions)
        if place not in known
    )


def _ledger(record: Record) -> Iterator[str]:
    for config, folds in record.entries.items():
        for fold in folds:
            if fold.status == "done":
                yield from _replayed(record, config, fold)


def _replayed(record: Record, config: RunConfig, fold: FoldResult) -> Iterator[str]:
    title, readings = _title(record, config, fold), fold.readings
    if len(readings) != 1:
        yield f"{title}: its held-out rows were read {count(len(readings), 'time')} by the ledger, not once"
        return
    (reading,) = readings
    yield from differences(reading.rows, fold.num_valid, f"{title}.readings[0].rows")
    rows = record.stored(config, fold.repeat, fold.fold)
    if rows is not None:
        digest = table_digest(rows)
        yield from differences(reading.predictions, digest, f"{title}.readings[0].predictions")


def _folders(record: Record) -> Iterator[str]:
    """Compare each fold's record with its line in results.json."""
    for config, folds in record.entries.items():
        for fold in folds:
            name = "done.json" if fold.status == "done" else "failed.json"
            path = record.unit(config, fold.repeat, fold.fold) / name
            if not path.is_file():
                yield f"{path.relative_to(record.folder)}: is not there"
                continue
            own = read_record(KeptFold, path).result
            words = f"{{}} in results.json, {{}} in {path.relative_to(record.folder)}"
            yield from differences(fold, own, _title(record, config, fold), words)


def _files(record: Record) -> Check:
    """Compare the files of each finished unit with the digests that it kept, also those beside the folds."""
    units = [*sorted(record.folder.glob("folds/**/done.json")), record.folder / "final" / DONE]
    found = {path: changed_files(path) for path in units if path.is_file()}
    told = {path: names for path, names in found.items() if names is not None}
    name = "unit files"
    check = judged(name, f"have the digests in the {DONE} beside them", lambda: _changed(record, told))
    if check.differences or len(told) == len(found):
        return check
    missing = f"{len(found) - len(told)} of {len(found)}"
    return left_out(name, f"an earlier version kept no digests ({missing} not checked)")


def _changed(record: Record, changed: Mapping[Path, Sequence[str]]) -> Iterator[str]:
    for done, names in changed.items():
        for path in filter(Path.is_file, (done.parent / name for name in names)):  # others tell what is lost
            yield f"{path.relative_to(record.folder)}: is not as it was kept, by {done.name}"


def _within(record: Record, config: RunConfig) -> str:
    if record.results.grid is None:
        return "folds"
    return f"grid[{list(record.entries).index(config)}].folds"


def _title(record: Record, config: RunConfig, fold: FoldResult) -> str:
    return f"{_within(record, config)}.{fold_key(fold.repeat, fold.fold)}"
