"""What `layers`, `inspect` and `cache` show: a model's groups, a data set's rows and folds, what is kept."""

import argparse
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import Kind, RunConfig
from hf_transfer.machine.cache import (
    CacheFile,
    StoreEntry,
    StoreFolder,
    cache_folder,
    clear,
    encoded_rows,
    stores_folder,
)
from hf_transfer.machine.wording import aligned, count, size_words

_COLUMNS = ("group", "modules", "parameters", "trainable", "status", "learning_rate", "norm", "dropout")
_USUAL_ROWS = 1_000  # to learn from; the rates do not depend on it
_FILE_COLUMNS = ("kind", "base_model", "dataset", "rows", "bytes", "last_used", "state")


def describe_layers(options: argparse.Namespace) -> tuple[list[dict[str, Any]], str]:
    """The freeze table of a model: as values, and as text.

    Raises:
        ModelError: If the model cannot be opened.
        LayerSelectionError: If `--trainable` matches nothing.
    """
    from hf_transfer.layers import freeze_table
    from hf_transfer.layers.phases import freeze_for
    from hf_transfer.models.base_model import bare_model
    from hf_transfer.study.defaults import model_facts, settle

    names = ("trainable", "norm", "learning_rate", "layer_decay")
    given = {name: getattr(options, name) for name in names}
    config = RunConfig(base_model=options.model).changed(given)
    model = bare_model(config)
    config = settle(config, model, model_facts(model, pretrained=True), _USUAL_ROWS)
    rates = (
        {} if config.solved else {name: getattr(config, name) for name in ("learning_rate", "layer_decay")}
    )
    rows = freeze_table(model, freeze_for(model, config), **rates)
    total, learns = (sum(row[name] for row in rows) for name in ("parameters", "trainable"))
    cells = [[_cell(row[name]) for name in _COLUMNS] for row in rows]
    title = f"{options.model} with trainable={options.trainable}: {learns:,} of {total:,} parameters learn"
    title += ", in closed form" if config.solved else ""
    return rows, f"{title}\n\n{aligned([[name.replace('_', ' ') for name in _COLUMNS], *cells])}"


def describe_data(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Schema, labels, duplicates and folds of a data set: as values, and as text.

    Raises:
        DataError: If the data set cannot be opened as pictures, texts or words.
    """
    from hf_transfer.data.audit import audit, report
    from hf_transfer.data.rows import find_kind, open_dataset
    from hf_transfer.data.sealing import fold_columns, seal_rows
    from hf_transfer.folds import plan_folds
    from hf_transfer.tasks import task_of_kind

    config = RunConfig.from_args(replace(RunConfig(), dataset=options.dataset), options.settings)
    kind: Kind = options.kind or find_kind(config)
    data = open_dataset(config, kind)
    task = task_of_kind(data.kind)(config, data.label_names)
    data = seal_rows(task, data, config)
    plan = plan_folds(
        data.rows["row_id"][:],
        config.num_folds,
        seed=config.seed,
        columns=fold_columns(task, data, config),
        scheme=config.scheme,
    )
    found = audit(data)
    return found.to_dict(), report(found, data, plan)


def describe_cache(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """What is kept on disk for later runs, and with `--clear` what was removed: as values, and as text."""
    folder = cache_folder()
    if options.clear:
        freed, left = clear(folder)
        value = {"folder": str(folder), "bytes_freed": freed, "left": [str(path) for path in left]}
        text = f"{size_words(freed)} freed in {folder}"
        return value, "\n".join([text, *(f"left, as it is being written: {path}" for path in left)])
    files = [*StoreFolder(stores_folder(), 0).entries(), *encoded_rows(folder)]
    rows = [_file_row(file) for file in files]
    total = sum(file.num_bytes for file in files)
    value = {"folder": str(folder), "bytes": total, "files": rows}
    title = f"{folder}: {count(len(files), 'file')}, {size_words(total)}"
    if not files:
        return value, title
    cells = [[name.replace("_", " ").replace("bytes", "size") for name in _FILE_COLUMNS]]
    cells += [[_file_cell(name, row[name]) for name in _FILE_COLUMNS] for row in rows]
    return value, f"{title}\n\n{aligned(cells)}\n\n`hf-transfer cache --clear` removes all of them."


def _file_row(file: CacheFile) -> dict[str, Any]:
    about = file.about if isinstance(file, StoreEntry) else {}
    state = "finished" if file.finished else "being written" if file.being_written else "unfinished"
    return {
        "kind": "frozen layers" if isinstance(file, StoreEntry) else "encoded rows",
        **{name: about.get(name) for name in ("base_model", "dataset", "cut", "rows")},
        "bytes": file.num_bytes,
        "last_used": datetime.fromtimestamp(file.last_used, UTC).isoformat(timespec="seconds"),
        "state": state,
        "path": str(file.path),
    }


def _file_cell(name: str, value: Any) -> str:
    if name == "bytes":
        return size_words(value)
    if name == "last_used":
        return datetime.fromisoformat(value).astimezone().strftime("%Y-%m-%d %H:%M")
    return _cell(value)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return (
        f"{value:,}" if isinstance(value, int) else f"{value:.2e}" if isinstance(value, float) else str(value)
    )
