import os
import socket
from pathlib import Path

import pytest

from hf_transfer.errors import ConfigError, DataError
from hf_transfer.machine.paths import (
    local_path,
    refuse_folders_elsewhere,
    refuse_links,
    refuse_special,
    special_file,
    utf_8,
)


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/passwd", "x/../../a.jpg", "", "."])
def test_paths_that_leave_the_folder_are_refused(tmp_path, name):
    with pytest.raises(DataError, match=r"leaves the folder"):
        local_path(name, tmp_path)


@pytest.mark.parametrize("name", ["https://example.org/a.jpg", "s3://b/a.jpg", "data:image/png;base64,AA"])
def test_web_addresses_are_refused(tmp_path, name):
    with pytest.raises(DataError, match=r"is a web address; download"):
        local_path(name, tmp_path)


def test_paths_inside_the_folder_are_followed(tmp_path):
    assert local_path("x/../y/a.jpg", tmp_path) == tmp_path / "y" / "a.jpg"
    assert local_path(str(tmp_path / "a.jpg"), tmp_path) == tmp_path / "a.jpg"


def test_paths_of_windows_are_followed_where_no_file_has_such_a_name(tmp_path):
    assert local_path("x\\y.png", tmp_path) == tmp_path / "x" / "y.png"
    assert local_path(".\\x\\..\\y.png", tmp_path) == tmp_path / "y.png"
    (tmp_path / "x\\y.png").touch()
    assert local_path("x\\y.png", tmp_path) == tmp_path / "x\\y.png"


@pytest.mark.parametrize("name", ["C:\\x\\y.png", "\\\\server\\share\\y.png", "D:y\\z.png"])
@pytest.mark.parametrize("outside", [False, True])
def test_paths_on_a_drive_of_windows_are_refused(tmp_path, name, outside):
    with pytest.raises(DataError, match=r"is of a drive of Windows, which is not here. Give paths relative"):
        local_path(name, tmp_path, outside=outside)


def test_paths_may_lead_outside_where_that_is_allowed(tmp_path):
    assert local_path("../a.jpg", tmp_path, outside=True) == tmp_path.parent / "a.jpg"
    assert local_path("/x/a.jpg", tmp_path, outside=True) == Path("/x/a.jpg")
    (tmp_path / "link").symlink_to("/x/a.jpg")
    refuse_links([tmp_path / "link"], tmp_path, outside=True)
    with pytest.raises(DataError, match=r"which is outside.*pass --allow_outside"):
        refuse_links([tmp_path / "link"], tmp_path)


def test_what_is_neither_a_file_nor_a_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        for name, kind in (("pipe", "a pipe"), ("/dev/null", "a device"), ("socket", "a socket")):
            assert special_file(Path(name)) == kind
            with pytest.raises(DataError, match=f"{name} is {kind}, not a file. Write what comes from it"):
                refuse_special(Path(name))
    for name in (".", "absent", "a\x00b"):
        refuse_special(Path(name))


def test_names_that_no_table_can_hold_are_refused(tmp_path):
    assert utf_8(tmp_path / "größe 日本.png").endswith("größe 日本.png")
    with pytest.raises(DataError, match=r"'.*a\\udcff.png' is not UTF-8.*Rename it"):
        utf_8(tmp_path / os.fsdecode(b"a\xff.png"))


@pytest.mark.parametrize("name", ["plots", "folds/r0f0", "folds/r0f0/checkpoint"])
def test_a_run_writes_through_no_link(tmp_path, name):
    run = tmp_path / "run"
    (run / name).parent.mkdir(parents=True)
    (run / "own").mkdir()
    (run / name).symlink_to(run / "own")
    refuse_folders_elsewhere(run)
    (run / name).unlink()
    (run / name).symlink_to(tmp_path)
    with pytest.raises(ConfigError, match=f"{name} is a link to .*writes only inside its own folder"):
        refuse_folders_elsewhere(run)
