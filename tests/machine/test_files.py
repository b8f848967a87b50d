import errno
import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from safetensors import SafetensorError

from hf_transfer.errors import ConfigError, DiskFullError
from hf_transfer.machine import files
from hf_transfer.machine.files import (
    check_room,
    enough_disk,
    load_table,
    make_folder,
    new_folder,
    remove_stale,
    temporary,
    write_bytes,
    write_files,
    write_table,
)

FULL = OSError(errno.ENOSPC, "No space left on device")


def test_a_file_is_replaced_in_one_step(tmp_path):
    write_bytes(tmp_path / "a", b"old")
    write_bytes(tmp_path / "a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"new"


@pytest.mark.parametrize("folder", ["last:1", "x=1", "s3:", "plain"])
def test_a_table_is_read_whatever_its_folder_is_called(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    table = pa.table({"row_id": [1, 2], "fold": [0, 1]})
    path = Path(folder, "folds.parquet")
    path.parent.mkdir()
    write_table(path, table)
    assert load_table(path).equals(table)
    assert load_table(path, ["fold"]).column_names == ["fold"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    write_bytes(tmp_path / "a", b"old")

    def full(*_):
        raise FULL

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": ("pathlib.Path.replace",)}[step], full)
    with pytest.raises(DiskFullError, match=rf"disk at {tmp_path}: 3 bytes needed, .* free\. Finished work"):
        write_bytes(tmp_path / "a", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"old")]


def test_files_of_which_one_does_not_fit_are_all_left_as_they_were(tmp_path, monkeypatch):
    write_through = files._write_through

    def second_fails(path, data):
        if data == b"2":
            raise FULL
        write_through(path, data)

    monkeypatch.setattr(files, "_write_through", second_fails)
    with pytest.raises(DiskFullError, match="2 bytes needed"):
        write_files({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error",
    [
        FULL,
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 64 vs 0"),
        Exception("No space left on device (os error 28)"),  # that of tokenizers
    ],
    ids=lambda error: type(error).__name__,
)
def test_all_words_for_a_full_disk_become_one(tmp_path, error):
    behind = RuntimeError("could not write")
    behind.__cause__ = error
    for one in (error, behind):
        with pytest.raises(DiskFullError, match="run the same command again"), enough_disk(tmp_path):
            raise one


def test_another_error_stays_what_it_is(tmp_path):
    with pytest.raises(PermissionError), enough_disk(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied")


def test_a_folder_gets_its_name_when_all_of_it_is_there(tmp_path):
    folder = tmp_path / "model"
    for text in ("old", "new"):
        with new_folder(folder) as beside:
            assert folder.exists() == (text == "new")
            (beside / "deep").mkdir()
            (beside / "deep" / "file").write_text(text)
    assert (folder / "deep" / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_that_could_not_be_written_leaves_the_old_one(tmp_path):
    with new_folder(tmp_path / "model") as beside:
        (beside / "file").write_text("old")

    def write_half():
        with new_folder(tmp_path / "model", 7) as beside:
            (beside / "file").write_text("new")
            raise FULL

    with pytest.raises(DiskFullError, match="7 bytes needed"):
        write_half()
    assert (tmp_path / "model" / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_have_the_permissions_that_the_umask_says(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with new_folder(tmp_path / "model") as beside:
            (beside / "weights").touch()
            (beside / "weights").chmod(0o600)  # as safetensors leaves it
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model" / "weights").stat().st_mode) == mode


def test_what_dead_processes_left_is_removed_and_what_living_ones_write_is_not(tmp_path):
    dead, living, other = ".a.999999999.tmp", f".a.{os.getppid()}.tmp", ".notes.tmp"
    for name in (dead, living, other):
        (tmp_path / name).touch()
    own = temporary(tmp_path / "folder")
    own.mkdir()
    (own / "file").touch()
    assert {path.name for path in remove_stale(tmp_path)} == {dead, own.name}
    assert {path.name for path in tmp_path.iterdir()} == {living, other}


def test_room_is_looked_for_before_the_folder_is_there(tmp_path):
    check_room(tmp_path / "a" / "b", 1)
    with pytest.raises(DiskFullError, match=r"1000000000\.0 GB needed"):
        check_room(tmp_path / "a" / "b", 10**18)


def test_a_file_system_without_a_size_is_not_full(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(total=0, free=0))
    check_room(tmp_path, 10**18)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(total=10, free=0))
    with pytest.raises(DiskFullError, match="0 bytes free"):
        check_room(tmp_path, 1)


def test_a_folder_is_made_with_its_parents_or_it_is_said_why_not(tmp_path, monkeypatch):
    for _ in range(2):
        make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"^place='.*file' cannot be made \(File exists\)\. Give another"):
        make_folder(tmp_path / "file", "place")

    def full(*_args, **_how):
        raise FULL

    monkeypatch.setattr("pathlib.Path.mkdir", full)
    with pytest.raises(DiskFullError, match="Not enough room"):
        make_folder(tmp_path / "c")
