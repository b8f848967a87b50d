"""The folder of a process that does pieces of work."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from hf_transfer.cluster.desk import Desk

MAKES_ONE = "from hf_transfer.cluster.desk import Desk; import os, signal; print(Desk().root, flush=True)"


def test_folders_of_processes_that_were_killed_are_removed_and_no_others(tmp_path, monkeypatch):
    killed = subprocess.run(
        [sys.executable, "-c", f"{MAKES_ONE}; os.kill(os.getpid(), signal.SIGKILL)"],
        env=os.environ | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    left = tmp_path / Path(killed.stdout.strip()).name
    assert left.is_dir()
    (tmp_path / "hf-transfer-node-notes").mkdir()  # somebody's own
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    first, second = Desk(), Desk()
    assert not left.exists()
    assert first.root.is_dir()
    assert second.root.is_dir()
    assert (tmp_path / "hf-transfer-node-notes").is_dir()
