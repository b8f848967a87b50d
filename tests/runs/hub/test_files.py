"""Which files of a run are published."""

import os

import pytest
from fake_run import make_run

from hf_transfer import write_card
from hf_transfer.runs.hub.files import collect


@pytest.fixture
def run(tmp_path):
    make_run(tmp_path / "run")
    write_card(tmp_path / "run", redraw=False)
    for name in ("model/config.json", "model/model.safetensors", "onnx/model.onnx", "onnx/config.json"):
        path = tmp_path / "run" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"{}")
        os.utime(path, (1000, 1000))
    return tmp_path / "run"


def test_an_export_is_published_in_its_folder(run):
    assert {"onnx/model.onnx", "onnx/config.json", "model.safetensors", "config.json"} <= collect(run).keys()


@pytest.mark.slow
def test_an_export_of_earlier_weights_is_not(run):
    os.utime(run / "model" / "model.safetensors", (2000, 2000))
    assert not [name for name in collect(run) if name.startswith("onnx/")]


@pytest.mark.slow
def test_other_files_beside_an_export_are_not(run):
    (run / "onnx" / "notes.pkl").write_bytes(b"x")
    assert "onnx/notes.pkl" not in collect(run)
