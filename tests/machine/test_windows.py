"""What Windows lacks is needed nowhere at import, and gone around where it is of use."""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from hf_transfer.errors import DiskFullError
from hf_transfer.machine import files, launcher, lock
from hf_transfer.machine.environment import usable_cores
from hf_transfer.machine.files import reserve, sync
from hf_transfer.machine.launcher import launch
from hf_transfer.machine.lock import LOCK_FILE, locked

# All modules twice: libraries load their own parts for this system, and then only the kit is imported anew.
IMPORTS = """
import importlib, os, pkgutil, signal, sys
import hf_transfer

names = [one.name for one in pkgutil.walk_packages(hf_transfer.__path__, "hf_transfer.")]
names.remove("hf_transfer.__main__")  # would run

def load():
    for name in names:
        importlib.import_module(name)

load()
for name in [name for name in sys.modules if name.split(".")[0] == "hf_transfer"]:
    del sys.modules[name]
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
for module, gone in (
    (signal, "SIGALRM SIGHUP SIGKILL SIGUSR1 SIGUSR2 pause setitimer"),
    (os, "O_DIRECTORY O_NOFOLLOW fork geteuid getuid killpg posix_fallocate pread pwrite sched_getaffinity"),
):
    for name in gone.split():
        if hasattr(module, name):
            delattr(module, name)
load()
print(len(names))
"""


@pytest.mark.slow
def test_every_module_is_imported_without_what_windows_lacks():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", IMPORTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) > 200


def test_a_lock_is_removed_when_it_is_closed_already(tmp_path, monkeypatch):
    order = []
    close = os.close
    monkeypatch.setattr(lock.os, "close", lambda number: order.append("close") or close(number))
    monkeypatch.setattr("pathlib.Path.unlink", lambda path, missing_ok: order.append("unlink"))
    with locked(tmp_path):
        monkeypatch.setattr(lock.os, "name", "nt")
    monkeypatch.setattr(lock.os, "name", "posix")
    assert order == ["close", "unlink"]


def test_a_lock_that_the_next_one_has_opened_stays(tmp_path, monkeypatch):
    def in_use(*_, **__):
        raise PermissionError(13, "The process cannot access the file")

    with locked(tmp_path):
        monkeypatch.setattr("pathlib.Path.unlink", in_use)
        monkeypatch.setattr(lock.os, "name", "nt")
    monkeypatch.setattr(lock.os, "name", "posix")
    assert (tmp_path / LOCK_FILE).exists()


def test_a_record_is_read_companions_the_byte_that_is_locked(tmp_path):
    with locked(tmp_path):
        found = lock.holder(tmp_path)
        text = (tmp_path / LOCK_FILE).read_bytes()
        (tmp_path / LOCK_FILE).write_bytes(b"?" + text[1:])
        assert lock.holder(tmp_path) == found


def test_no_folder_is_opened_to_bring_it_to_the_disk(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("a")
    opened, real = [], os.open
    monkeypatch.setattr(
        files.os, "open", lambda path, flags: opened.append((path, flags)) or real(path, flags)
    )
    folder, file = tmp_path, tmp_path / "a"
    monkeypatch.setattr(files.os, "name", "nt")
    sync(folder)
    sync(file)
    monkeypatch.setattr(files.os, "name", "posix")
    assert opened == [(file, os.O_RDWR)]


def test_space_that_cannot_be_taken_is_looked_for(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"1234")
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    reserve(tmp_path / "a")
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: SimpleNamespace(total=10**18, free=3))
    with pytest.raises(DiskFullError, match="4 bytes needed"):
        reserve(tmp_path / "a")


@pytest.mark.parametrize(("number", "sent"), [(signal.SIGINT, []), (signal.SIGTERM, [signal.SIGTERM])])
def test_only_what_windows_can_send_is_passed_on(tmp_path, monkeypatch, number, sent):
    got = []

    class Child:
        def __init__(self, *_, **__):
            self.left = [0]

        def poll(self):
            if self.left:
                monkeypatch.setattr(launcher.os, "name", "nt")
                signal.raise_signal(number)
                monkeypatch.setattr(launcher.os, "name", "posix")
            return self.left.pop() if self.left else 0

        def send_signal(self, number):
            got.append(number)

        def kill(self):
            pass

    monkeypatch.setattr(launcher.subprocess, "Popen", Child)
    assert launch([], 1) == 0
    assert got == sent


def test_all_cores_count_where_the_system_does_not_tell_which_are_ours(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert usable_cores() == 7
