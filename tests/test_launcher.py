import json

import pytest

from hf_transfer.launcher import is_main_process, tell_launcher


@pytest.mark.parametrize(("rank", "main"), [(None, True), ("0", True), ("1", False)])
def test_the_first_process_is_the_main_one(monkeypatch, rank, main):
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    assert is_main_process() is main


def test_the_launcher_finds_why_a_process_ended(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    tell_launcher("DataError: row 3", "the whole story")
    message = json.loads((tmp_path / "error.json").read_text())["message"]
    assert message["message"] == "DataError: row 3"
    assert message["extraInfo"]["py_callstack"] == "the whole story"
    assert int(message["extraInfo"]["timestamp"]) > 0


def test_without_a_launcher_nobody_is_told(monkeypatch, tmp_path):
    monkeypatch.delenv("TORCHELASTIC_ERROR_FILE", raising=False)
    monkeypatch.chdir(tmp_path)
    tell_launcher("a", "b")
    assert not list(tmp_path.iterdir())
