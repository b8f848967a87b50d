import json

import pytest
import torch

from hf_transfer.errors import DiskFullError
from hf_transfer.training.checkpoint import Checkpoints, State

VALUES = {"history": [{"train_loss": 0.1 + 0.2}], "best": None}


def state(step: int) -> State:
    tensors = {"a": torch.arange(6.0).view(2, 3).t() + step, "n": torch.tensor(step), "none": torch.zeros(0)}
    return State(step, VALUES, tensors)


@pytest.fixture
def two(tmp_path):
    """Two checkpoints, as a process leaves them that is killed before it has removed the older."""
    kept = Checkpoints(tmp_path / "checkpoint", "this", 5)
    for step in (9, 10):
        other = Checkpoints(tmp_path / str(step), "this", 5)
        other.save(state(step))
        kept.folder.mkdir(exist_ok=True)
        (other.folder / f"step-{step:08d}").rename(kept.folder / f"step-{step:08d}")
    return kept


def test_what_was_kept_comes_back_to_the_bit(tmp_path):
    kept = Checkpoints(tmp_path / "checkpoint", "this", 5)
    for step in (1, 2):
        kept.save(state(step))
    (found,) = kept.folder.iterdir()
    assert found.name == "step-00000002"
    again = kept.load()
    assert (again.step, again.values) == (2, VALUES)
    assert all(torch.equal(again.tensors[name], tensor) for name, tensor in state(2).tensors.items())


def test_the_latest_step_is_taken_whatever_the_clock_says(two):
    assert two.load().step == 10


@pytest.mark.parametrize("file", ["state.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("how", ["cut", "one bit", "gone", "empty"])
def test_a_damaged_checkpoint_is_passed_over_and_named(two, capsys, file, how):
    path = two.folder / "step-00000010" / file
    data = path.read_bytes()
    # Of the manifest, what is cut or turned over must be what counts: the digests are its end.
    at = len(data) // 2 if file != "manifest.json" else data.index(b"sha256") + 15
    turned = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    new = {"cut": data[: len(data) // 2], "one bit": turned, "empty": b"", "gone": None}[how]
    path.unlink() if new is None else path.write_bytes(new)
    assert two.load().step == 9
    assert f"{path.parent} is damaged (" in capsys.readouterr().err
    (two.folder / "step-00000009" / "manifest.json").unlink()
    assert two.load() is None


def test_the_checkpoint_of_another_training_is_not_taken(two):
    assert Checkpoints(two.folder, "that", 5).load() is None
    path = two.folder / "step-00000010" / "state.json"
    assert json.loads(path.read_text())["identity"] == "this"


def test_half_a_checkpoint_of_a_dead_process_is_removed(two):
    beside = two.folder / ".step-00000011.999999999.tmp"
    beside.mkdir()
    (beside / "state.safetensors").touch()
    assert two.load().step == 10
    assert not beside.exists()


def test_a_full_disk_leaves_the_checkpoint_before(two, monkeypatch):
    def full(*_):
        raise RuntimeError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("hf_transfer.training.checkpoint.save_file", full)
    with pytest.raises(DiskFullError, match=r"checkpoint: \d+ bytes needed"):
        two.save(state(11))
    assert two.load().step == 10
    assert len(list(two.folder.iterdir())) == 2
