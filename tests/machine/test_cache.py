import json
import os
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import datasets
import pytest

from hf_transfer.cli.main import main
from hf_transfer.machine import cache
from hf_transfer.machine.cache import StoreFolder, cache_folder, stores_folder

DAY = 86_400
NOON = 1_700_000_000  # 14 November 2023


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    return cache_folder()


@pytest.fixture(scope="module")
def dead_process() -> int:
    """The number of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


@pytest.fixture
def living_process():
    """The number of another process that runs."""
    waits = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield waits.pid
    waits.communicate(b"\n", timeout=60)


def put(path: Path, num_bytes: int, used: float = NOON) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(num_bytes))
    os.utime(path, (used, used))
    return path


def put_store(key: str, num_bytes: int, used: float = NOON, **about: object) -> Path:
    """A finished store, by the way that a run takes."""
    stores = StoreFolder(stores_folder(), 1e9)
    part = put(stores.unfinished(key), num_bytes)
    stores.finish(part, key, about)
    os.utime(stores.file(key), (used, used))
    return stores.file(key)


def put_unfinished(key: str, process: int, num_bytes: int) -> Path:
    return put(stores_folder() / f".{key}.{process}.npy", num_bytes)


def shown(capsys, *words: str) -> dict:
    assert main(["cache", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def kept(folder: Path) -> set[str]:
    """Names of all files, without the digests that lie beside the files they are of."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    beside = {path.with_suffix(".sha256") for path in paths if path.suffix in (".npy", ".arrow")}
    return {path.name for path in paths if path not in beside}


def test_listing_tells_what_is_kept(folder, capsys):
    put_store("b", 2_500_000, base_model="me/bert", dataset="imdb", cut="layer.3", rows=25_000)
    put_store("a", 3_000_000, NOON - DAY, base_model="me/vit", dataset="pets", cut="blocks.2", rows=90)
    put(folder / "c.arrow", 4_000_000)
    assert main(["cache"]) == 0
    title, _, header, *rows = capsys.readouterr().out.splitlines()
    assert title == f"{folder}: 3 files, 9.5 MB"
    assert header.split() == ["kind", "base", "model", "dataset", "rows", "size", "last", "used", "state"]
    assert rows[0].split()[:7] == ["frozen", "layers", "me/vit", "pets", "90", "3.0", "MB"]
    assert rows[1].split()[:7] == ["frozen", "layers", "me/bert", "imdb", "25,000", "2.5", "MB"]
    assert rows[2].split()[:7] == ["encoded", "rows", "-", "-", "-", "4.0", "MB"]
    assert all(row.endswith("finished") for row in rows[:3])
    assert "`hf-transfer cache --clear`" in rows[-1]


def test_listing_as_json_has_plain_bytes_and_times_in_utc(folder, capsys):
    store = put_store("a", 2500, base_model="me/bert", dataset="imdb", cut="layer.3", rows=25_000)
    put(folder / "c.arrow", 400)
    found = shown(capsys)
    assert (found["folder"], found["bytes"], len(found["files"])) == (str(folder), 2900, 2)
    assert found["files"][0] == {
        "kind": "frozen layers", "base_model": "me/bert", "dataset": "imdb", "cut": "layer.3", "rows": 25_000,
        "bytes": 2500, "last_used": "2023-11-14T22:13:20+00:00", "state": "finished", "path": str(store),
    }  # fmt: skip


def test_a_folder_that_does_not_exist_is_empty(folder, capsys):
    assert main(["cache"]) == 0
    assert capsys.readouterr().out.startswith(f"{folder}: 0 files, 0")
    assert shown(capsys) == {"folder": str(folder), "bytes": 0, "files": []}
    assert shown(capsys, "--clear") == {"folder": str(folder), "bytes_freed": 0, "left": []}
    assert not folder.exists()


def test_unfinished_stores_tell_whether_their_process_lives(folder, dead_process, living_process, capsys):
    dead = put_unfinished("a", dead_process, 10)
    busy = put_unfinished("b", living_process, 20)
    states = {row["path"]: row["state"] for row in shown(capsys)["files"]}
    assert states == {str(dead): "unfinished", str(busy): "being written"}


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_store_of_which_nothing_is_known_is_listed(folder, capsys, text):
    path = put_store("a", 10, base_model="me/bert")
    path.with_suffix(".json").write_text(text)
    assert shown(capsys)["files"][0]["base_model"] is None
    assert main(["cache"]) == 0
    assert capsys.readouterr().out.splitlines()[3].split()[:5] == ["frozen", "layers", "-", "-", "-"]


def test_clear_removes_all_that_nobody_is_writing(folder, dead_process, living_process, capsys):
    put_store("a", 4_000_000, base_model="me/bert")
    put_unfinished("b", dead_process, 3_000_000)
    busy = put_unfinished("c", living_process, 7)
    put(folder / "d.arrow", 500_000)
    assert main(["cache", "--clear"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"7.5 MB freed in {folder}\nleft")
    assert str(busy) in text
    assert kept(folder) == {busy.name}


def test_clear_as_json(folder, living_process, capsys):
    busy = put_unfinished("c", living_process, 7)
    put(folder / "d.arrow", 5)
    assert shown(capsys, "--clear") == {"folder": str(folder), "bytes_freed": 5, "left": [str(busy)]}


def test_clear_leaves_encoded_rows_that_may_be_being_written(folder, capsys):
    put(folder / "tmpold", 5)
    fresh = put(folder / "tmpnew", 6, used=time.time())
    assert [row["state"] for row in shown(capsys)["files"]] == ["unfinished", "being written"]
    assert shown(capsys, "--clear")["left"] == [str(fresh)]
    assert kept(folder) == {fresh.name}


def test_clear_touches_nothing_else(folder, capsys):
    other = put(folder.parent / "imdb" / "data.arrow", 5)
    note = put(folder / "note.txt", 5)
    put(folder / "a.arrow", 5)
    assert main(["cache", "--clear"]) == 0
    assert other.exists()
    assert kept(folder) == {note.name}


def test_make_room_removes_the_stores_unused_for_longest(folder):
    for age, key in enumerate("abc"):
        put_store(key, 100, NOON - age * DAY)
    stores = StoreFolder(stores_folder(), limit=300)
    stores.used("c")  # the oldest, but wanted again
    assert stores.make_room(100) is None
    assert kept(folder) == {"a.npy", "a.json", "c.npy", "c.json"}


def test_make_room_keeps_all_when_there_is_room(folder):
    put_store("a", 100)
    assert StoreFolder(stores_folder(), limit=200).make_room(100) is None
    assert kept(folder) == {"a.npy", "a.json"}


def test_make_room_refuses_what_exceeds_the_limit_and_removes_nothing_for_it(folder):
    put_store("a", 100)
    reason = StoreFolder(stores_folder(), limit=2e9).make_room(3e9)
    assert reason == "they take 3.0 GB, more than cache_gb=2"
    assert kept(folder) == {"a.npy", "a.json"}


def test_make_room_refuses_what_the_disk_has_no_room_for(folder, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: usage(10e9, 8e9, 2e9))
    reason = StoreFolder(stores_folder(), limit=20e9).make_room(3e9)
    assert reason == "they take 3.0 GB, and only 2.0 GB of disk are free"


def test_make_room_removes_unfinished_stores_of_dead_processes_only(folder, dead_process, living_process):
    put_unfinished("a", dead_process, 10)
    busy = put_unfinished("b", living_process, 10)
    assert StoreFolder(stores_folder(), limit=100).make_room(10) is None
    assert kept(folder) == {busy.name}


def test_make_room_counts_what_others_are_writing(folder, living_process):
    put_store("a", 10)
    busy = put_unfinished("b", living_process, 80)
    reason = StoreFolder(stores_folder(), limit=100).make_room(50)
    assert reason is not None
    assert "other runs are writing" in reason
    assert kept(folder) == {"a.npy", "a.json", busy.name}  # a refusal removes nothing


def test_make_room_counts_what_it_may_remove_as_free(folder, monkeypatch):
    put_store("a", 100)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: usage(1000, 950, 50))
    assert StoreFolder(stores_folder(), limit=1000).make_room(100) is None
    assert kept(folder) == set()
