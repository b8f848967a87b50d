"""Check what a run states twice, and what follows from its settings and row ids: rows in no fold, groups."""

import os
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.folds import SLICES, derive_seed, inner_split, rows_aside, search_plan
from hf_transfer.machine.files import load_table
from hf_transfer.machine.wording import count
from hf_transfer.runs.aggregate import choice_notes, fold_notes
from hf_transfer.runs.controls import Controls, control_notes
from hf_transfer.runs.final_record import RowScores
from hf_transfer.runs.records import DatasetFacts
from hf_transfer.runs.run_folder import place_of
from hf_transfer.verify.check import OK, Check, differences, judged, left_out
from hf_transfer.verify.record import Record

IN_MEMORY = "a dataset in memory"
# A column of folds.parquet, the setting that asks for it, and what results.json says of it.
_SPLIT_BY = {"group": "group_by", "time": "time_by", "predefined": "fold_column"}


def stated_checks(record: Record) -> Iterator[Check]:
    """Compare what is stated twice, and make again which rows are in no fold."""
    yield judged("stated twice", "results, settings and folds agree", lambda: _twice(record))
    yield judged("names of scores", "are the kit's own, or those asked for", lambda: _names(record))
    if rows_aside(record.fold_table):
        yield judged(
            "rows set aside", "are those that a search of this seed chose by", lambda: _aside(record)
        )
    for name, written in (("sealed", record.results.final.sealed), ("test", record.results.test)):
        path = record.folder / f"{name}_predictions.parquet"
        if written and path.is_file():
            yield _beside_the_folds(record, name, written, path)
    yield _notes(record)


def _twice(record: Record) -> Iterator[str]:
    results, config = record.results, record.config
    yield from differences(results.base_model, config.base_model, "base_model", _WORDS)
    if config.from_scratch and not results.from_scratch:
        yield "from_scratch: written False, settings say True"
    if results.from_scratch and not (config.from_scratch or _told_without_weights(record)):
        yield "from_scratch: written True, and neither settings nor notes say so"
    yield from _dataset_named(results.dataset, config)
    alone = place_of(record.best, list(record.entries))
    yield from differences(results.folds_path, f"folds/{alone}".rstrip("/"), "folds_path")
    yield from _split_by(record)


_WORDS = "written {}, settings say {}"


def _told_without_weights(record: Record) -> bool:
    return any("has no pretrained weights" in note for note in record.results.notes)


def _dataset_named(dataset: DatasetFacts, config: RunConfig) -> Iterator[str]:
    named = config.dataset or ""
    if dataset.name == IN_MEMORY or named.strip("./") == "":  # neither says the name
        return
    local = Path(os.path.abspath(Path(named).expanduser())).name  # noqa: PTH100  (resolve() follows links)
    if dataset.name not in (named, local):
        yield f"dataset.name: written {dataset.name!r}, settings say {named!r}"
    if dataset.hub and dataset.name != named:
        yield f"dataset.hub: written True of {dataset.name!r}, settings say {named!r}"


def _split_by(record: Record) -> Iterator[str]:
    """Columns of folds.parquet for what settings and results say the rows were split by."""
    there, dataset = set(record.fold_table.column_names), record.results.dataset
    for column, setting in _SPLIT_BY.items():
        asked = getattr(record.config, setting)
        if asked and column not in there:
            yield f"folds.parquet: has no column {column!r}, and {setting}={asked!r}"
    told = dataset.grouped_by or dataset.kept_by
    if told and "group" not in there:
        yield f"folds.parquet: has no column 'group', and results.json says that {told!r} keeps rows together"
    if dataset.num_groups is not None and "group" not in there:
        yield f"dataset.num_groups: written {dataset.num_groups}, folds.parquet has no column 'group'"


def _names(record: Record) -> Iterator[str]:
    results, known = record.results, set(record.scorer.higher_is_better)
    named = {*results.scores, *results.higher_is_better, results.primary_metric}
    for folds in record.entries.values():
        for fold in folds:
            named |= {*fold.scores, *fold.train_scores}
    for written in (results.final.sealed, results.test):
        named |= set(written.scores if written else ())
    for name in sorted(named - known):
        if not record.config.metrics:
            yield f"scores: {name!r} is no score of the kit, and the settings ask for no other"
        elif not (name.isascii() and name.isprintable()):
            yield f"scores: {name!r} has letters that are not ASCII, and may be taken for another name"


def _aside(record: Record) -> Iterator[str]:
    uids, columns = record.split
    rows = np.arange(len(uids))
    plan = search_plan(rows, uids, SLICES, tag="design-slice", config=record.config, columns=columns)
    written, made = set(rows_aside(record.fold_table)), set(plan.valid(0).tolist())
    yield from _sets_differ("folds.parquet, column 'aside'", _ids(uids, written), _ids(uids, made))


def _beside_the_folds(record: Record, name: str, written: RowScores, path: Path) -> Check:
    """Which rows these are: each once, and of sealed ones those that the seed chooses."""
    hidden = {"group", "time", "predefined"} & set(record.fold_table.column_names)
    again = name == "sealed" and not hidden and None not in record.row_labels()

    def compare() -> Iterator[str]:
        rows = load_table(path)
        found = list(_each_once(record, name, written, rows))
        yield from found
        if again and not found:
            yield from _sealed(record, rows)

    check = judged(f"{name} rows", "each once, in no fold, those that the seed chooses", compare)
    if again or check.state != OK:
        return check
    why = f"by the {', '.join(sorted(hidden)) or 'labels'} of rows that are not here"
    why = "of another split" if name == "test" else why
    return left_out(check.name, f"each is there once; that they are chosen {why} is as the run told it")


def _each_once(record: Record, name: str, written: RowScores, rows: pa.Table) -> Iterator[str]:
    file, ids = f"{name}_predictions.parquet", rows["row_id"].to_pylist()
    yield from differences(written.num_rows, len(ids), f"{name}.num_rows")
    if len(set(ids)) < len(ids):
        yield f"{file}: {count(len(ids) - len(set(ids)), 'row')} more than once"
    if name == "sealed":
        if not record.config.sealed:
            yield f"{file}: is there, and the settings seal no rows (sealed=0)"
        if shared := set(ids) & set(np.asarray(record.split[0]).tolist()):
            yield f"{file}: {count(len(shared), 'row')} of the folds, such as row_id {min(map(str, shared))}"


def _sealed(record: Record, rows: pa.Table) -> Iterator[str]:
    """Seal the rows again: those of the folds and the sealed ones together."""
    uids, columns = record.split
    of_folds = np.asarray(uids).tolist()
    sealed = rows["row_id"].to_pylist()
    labels = [*record.row_labels(), *record.target.read_back(rows)]
    together = np.asarray([*of_folds, *sealed])
    balanced = record.target.balance({"label": labels})
    _, made = inner_split(
        np.arange(len(together)),
        together,
        seed=derive_seed(record.config.seed, "sealed"),
        columns=replace(balanced, gap=columns.gap),
        scheme=record.config.scheme,
        share=record.config.sealed,
    )
    again = set(together[made].tolist())
    yield from _sets_differ("sealed_predictions.parquet", set(sealed), again)


def _ids(uids: Any, rows: set[int]) -> set[Any]:
    return set(np.asarray(uids)[sorted(rows)].tolist())


def _sets_differ(where: str, written: set[Any], made: set[Any]) -> Iterator[str]:
    for words, rows in (("are not of them", written - made), ("are missing", made - written)):
        if rows:
            named = ", ".join(sorted(map(str, rows))[:3])
            yield f"{where}: {count(len(rows), 'row')} {words}, such as row_id {named}"


def _notes(record: Record) -> Check:
    """How many notes follow from the rest: the others stand on the card as the run told them."""
    results = record.results
    written = [*results.notes, *results.final.notes]
    told: list[str] = []

    def compare() -> Iterator[str]:
        found = record.fold_results
        controls = Controls(**{one.name: getattr(results, one.name) for one in fields(Controls)})
        made = {note for plan in record.plans for note in plan.notes}
        made |= {*choice_notes(found, record.best, record.scorer), *fold_notes(found[record.best])}
        made |= {*control_notes(controls)}
        told.extend(note for note in written if note not in made)
        yield from ()

    check = judged("notes", "follow from the rest", compare)
    return left_out("notes", f"{len(told)} of {len(written)} are as the run told them") if told else check
