import json
import os
import signal
import socket
from dataclasses import replace

import filelock
import pytest
from kill_points import ended, in_child

from hf_transfer import RunConfig
from hf_transfer.errors import ConfigError
from hf_transfer.machine.lock import LOCK_FILE, Holder, holder, is_alive, locked, refuse_running
from hf_transfer.runs.run_folder import RunFolder

NOW = "2026-01-01T00:00:00+00:00"


@pytest.fixture
def busy(tmp_path):
    """A folder in which a child process works."""
    ready, told = os.pipe()

    def work():
        with locked(tmp_path / "run"):
            os.write(told, b"!")
            signal.pause()

    (tmp_path / "run").mkdir()
    child = in_child(work, tmp_path / "log")
    os.read(ready, 1)
    yield tmp_path / "run", child
    os.kill(child, signal.SIGKILL)
    ended(child)


def test_a_second_run_is_refused_with_the_first_ones_process_and_machine(busy):
    folder, child = busy
    words = rf"in use by process {child} on {socket.gethostname()} since 2.*wait for that one"
    with pytest.raises(ConfigError, match=words), locked(folder):
        pass
    assert holder(folder).process == child


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_busy_folder_is_neither_opened_nor_emptied(busy, overwrite):
    folder, child = busy
    (folder / "results.json").touch()
    config = RunConfig(output_dir=str(folder), overwrite=overwrite)
    config.save(folder / "config.yaml")
    with pytest.raises(ConfigError, match=f"in use by process {child}"), RunFolder(folder).held(config):
        pass
    assert (folder / "results.json").exists()


def test_a_process_that_dies_frees_its_folder(tmp_path):
    def die():
        with locked(tmp_path):
            os.kill(os.getpid(), signal.SIGKILL)

    child = in_child(die, tmp_path / "log")
    assert ended(child) == -9
    assert (tmp_path / LOCK_FILE).exists()
    assert holder(tmp_path) is None
    with locked(tmp_path) as dead:
        assert dead.process == child
        assert holder(tmp_path).process == os.getpid()
        refuse_running(tmp_path, "")  # this very process
    assert not (tmp_path / LOCK_FILE).exists()


def test_a_process_that_was_killed_is_dead_before_anybody_has_asked_after_it(tmp_path):
    child = in_child(signal.pause, tmp_path / "log")
    assert is_alive(child)
    assert not is_alive(child, since=0)  # a later one with the same number
    os.kill(child, signal.SIGKILL)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert not is_alive(child)
    ended(child)
    assert not is_alive(child)


def test_somebody_who_only_looks_is_no_run(tmp_path, monkeypatch):
    (tmp_path / LOCK_FILE).write_text(json.dumps(vars(Holder(999999999, socket.gethostname(), NOW))))
    with (tmp_path / LOCK_FILE).open("rb") as looks:
        assert filelock.lock_descriptor(looks.fileno(), blocking=False)
        monkeypatch.setattr("time.sleep", lambda _: filelock.unlock_descriptor(looks.fileno()))
        assert holder(tmp_path) is None


def test_a_file_that_says_nothing_is_no_lock(tmp_path):
    (tmp_path / LOCK_FILE).write_text("{")
    with locked(tmp_path) as dead:
        assert dead is None


def test_a_folder_with_nothing_but_a_dead_lock_is_empty(tmp_path):
    (tmp_path / LOCK_FILE).touch()
    with RunFolder(tmp_path).held(RunConfig(output_dir=str(tmp_path))):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize(
    ("changes", "runs"),
    [({}, True), ({"host": "elsewhere"}, False), ({"process": 999999999}, False),
     ({"since": "2001-01-01T00:00:00+00:00"}, False)],
)  # fmt: skip
def test_without_locks_of_the_file_system_a_record_is_held_against_the_process(
    tmp_path, monkeypatch, changes, runs
):
    def unsupported(*_, **__):
        raise OSError(95, "Operation not supported")

    with locked(tmp_path):
        me = holder(tmp_path)
    record = replace(me, **changes)
    (tmp_path / LOCK_FILE).write_text(json.dumps(vars(record)))
    monkeypatch.setattr("filelock.lock_descriptor", unsupported)
    assert isinstance(record, Holder)
    assert (holder(tmp_path) is not None) is runs
    if runs:
        with pytest.raises(ConfigError, match="in use by process"), locked(tmp_path):
            pass
    else:
        with locked(tmp_path):
            pass


@pytest.mark.parametrize("kind", ["a link", "special"])
def test_a_lock_file_that_is_no_file_is_refused(tmp_path, kind):
    (tmp_path / "mine").write_text("mine")
    os.mkfifo(tmp_path / ".lock") if kind == "special" else (tmp_path / ".lock").symlink_to(tmp_path / "mine")
    with pytest.raises(ConfigError, match=rf"\.lock is {kind}, not a file"), locked(tmp_path):
        pass
    with pytest.raises(ConfigError, match=rf"\.lock is {kind}, not a file"):
        holder(tmp_path)
    assert (tmp_path / "mine").read_text() == "mine"
