"""`hf-transfer cache`: show what is kept on disk for later runs, or remove it."""

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cli.verb import add_verb, cell, show
from hf_transfer.machine.wording import aligned, count, size_words

if TYPE_CHECKING:
    from hf_transfer.machine.cache import CacheFile

_COLUMNS = ("kind", "base_model", "dataset", "rows", "bytes", "last_used", "state")


def add_cache(verbs: Any) -> None:
    """Add `cache` to the command line."""
    help = "show what is kept on disk for later runs: encoded rows, frozen layers' output"
    parser = add_verb(verbs, "cache", _cache, help)
    parser.add_argument("--clear", action="store_true", help="remove all of it")


def _cache(options: argparse.Namespace) -> int:
    show(options, _cleared() if options.clear else _listed())
    return 0


def _cleared() -> tuple[dict[str, Any], str]:
    from hf_transfer.machine.cache import cache_folder, clear

    folder = cache_folder()
    freed, left = clear(folder)
    value = {"folder": str(folder), "bytes_freed": freed, "left": [str(path) for path in left]}
    text = f"{size_words(freed)} freed in {folder}"
    return value, "\n".join([text, *(f"left, as it is being written: {path}" for path in left)])


def _listed() -> tuple[dict[str, Any], str]:
    from hf_transfer.machine.cache import StoreFolder, cache_folder, encoded_rows, stores_folder

    folder = cache_folder()
    files = [*StoreFolder(stores_folder(), 0).entries(), *encoded_rows(folder)]
    rows = [_row(file) for file in files]
    total = sum(file.num_bytes for file in files)
    value = {"folder": str(folder), "bytes": total, "files": rows}
    title = f"{folder}: {count(len(files), 'file')}, {size_words(total)}"
    if not files:
        return value, title
    cells = [[name.replace("_", " ").replace("bytes", "size") for name in _COLUMNS]]
    cells += [[_cell(name, row[name]) for name in _COLUMNS] for row in rows]
    return value, f"{title}\n\n{aligned(cells)}\n\n`hf-transfer cache --clear` removes all of them."


def _row(file: "CacheFile") -> dict[str, Any]:
    from hf_transfer.machine.cache import StoreEntry

    about = file.about if isinstance(file, StoreEntry) else {}
    state = "finished" if file.finished else "being written" if file.being_written else "unfinished"
    return {
        "kind": about.get("kind", "frozen layers") if isinstance(file, StoreEntry) else "encoded rows",
        **{name: about.get(name) for name in ("base_model", "dataset", "cut", "rows")},
        "bytes": file.num_bytes,
        "last_used": datetime.fromtimestamp(file.last_used, UTC).isoformat(timespec="seconds"),
        "state": state,
        "path": str(file.path),
    }


def _cell(name: str, value: Any) -> str:
    if name == "bytes":
        return size_words(value)
    if name == "last_used":
        return datetime.fromisoformat(value).astimezone().strftime("%Y-%m-%d %H:%M")
    return cell(value)
