"""What the machine refuses is told in one line, whichever library meets it."""

import errno
import os
from pathlib import Path

import pytest

from hf_transfer.cli.verb import guarded
from hf_transfer.errors import DiskFullError, MachineError
from hf_transfer.machine.lock import locked
from hf_transfer.machine.refusals import refusal


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EACCES, "right to read and write"),
        (errno.EROFS, "is read-only"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EIO, "is failing"),
    ],
)
def test_a_refusal_names_the_file_and_what_to_do(number, advice):
    told = refusal(OSError(number, os.strerror(number), "/runs/a/x.json"))
    assert isinstance(told, MachineError)
    assert told.exit_code == 4
    assert "/runs/a/x.json" in str(told)
    assert advice in str(told)
    assert "run the same command again to resume" in str(told)


def test_libraries_that_give_no_number_are_understood():
    assert "ulimit -n" in str(refusal(RuntimeError("cannot open: Too many open files (os error 24)")))
    inner = ValueError("no tokenizer")
    inner.__cause__ = PermissionError(errno.EACCES, "Permission denied", "tokenizer.json")
    assert "tokenizer.json" in str(refusal(inner))


def test_a_full_disk_is_told_as_such():
    assert isinstance(refusal(OSError(errno.ENOSPC, "No space left on device", "/runs/x")), DiskFullError)


@pytest.mark.parametrize(
    "error", [KeyError(3), ValueError("x"), FileNotFoundError(errno.ENOENT, "gone", "x")]
)
def test_a_defect_is_none(error):
    assert refusal(error) is None

    def run():
        raise error

    with pytest.raises(type(error)):
        guarded(run, [], debug=False)


def test_a_verb_that_may_open_no_file_ends_with_one_line(capsys):
    resource = pytest.importorskip("resource")

    def run():
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
            Path("x.txt").read_bytes()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)

    assert guarded(run, [], debug=False) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("MachineError: [Errno 24] Too many open files: 'x.txt'. Raise")


def test_a_folder_that_has_become_read_only_is_let_go(tmp_path, monkeypatch):
    def refused(_path, missing_ok=False):
        raise PermissionError(errno.EACCES, "Permission denied")

    with locked(tmp_path):
        monkeypatch.setattr("pathlib.Path.unlink", refused)
    monkeypatch.undo()
    with locked(tmp_path) as dead:
        assert dead is not None
