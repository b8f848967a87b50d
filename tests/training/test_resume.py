"""A training that is stopped anywhere ends as if it had not been."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_runs import plain_config

from hf_transfer import SequenceClassification, open_dataset
from hf_transfer.machine.signals import Interrupted, stop_signals
from hf_transfer.replay.encoding import encode_rows
from hf_transfer.replay.replayed import Replay
from hf_transfer.training.checkpoint import Checkpoints
from hf_transfer.training.fitting import fit
from hf_transfer.training.job import Job
from hf_transfer.training.loop import Loop
from hf_transfer.training.workers import Workers, make_accelerator

ROWS, INNER = np.arange(18), np.arange(18, 30)
KINDS = {
    "plain": {"num_epochs": 2},
    "layers from the top": {"schedule": "gradual", "trainable": "all", "num_epochs": 3},
    "head first": {"schedule": "lp-ft", "trainable": "last:1", "num_epochs": 2},
    "small steps": {"per_device_batch_size": 3, "num_epochs": 1},
    "momentum": {"optimizer": "sgd", "num_epochs": 2, "layer_decay": 0.8},
    "probe": {"head_start": "probe", "num_epochs": 1},
    "stopped early": {"early_stopping": True, "patience": 1, "num_epochs": 4, "learning_rate": 1e-2},
}


class Killed(BaseException):
    """Nothing in the kit may catch it."""


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    config = plain_config(
        base_model="builtin:tiny-bert", dataset="builtin:reviews", max_rows=40, num_epochs=1, batch_size=8,
        learning_rate=1e-3, max_length=12, output_dir=str(tmp_path_factory.mktemp("run")),
    )  # fmt: skip
    data = open_dataset(config, "text")
    task = SequenceClassification(config, data.label_names)
    accelerator = make_accelerator(config)
    return task, encode_rows(task, data.rows, data.fingerprint, accelerator), config, accelerator


def job(reviews, folder=None, minutes=0.0, **settings) -> Job:
    task, encoded, config, accelerator = reviews
    config = replace(config, **settings)
    task = SequenceClassification(config, task.label_names)
    replay = Replay(task, encoded, config, accelerator)
    kept = None if folder is None else Checkpoints(folder, "this", minutes)
    return Job(task, replay, config, 1, Workers(accelerator, together=False), checkpoints=kept)


def train(made: Job):
    return fit(made, ROWS, INNER if made.config.early_stopping else None)


def outcome(fitted) -> dict:
    history = [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in fitted.history]
    return {
        "weights": {n: t.clone() for n, t in fitted.model.state_dict().items()},
        "history": history,
        "best": fitted.best_epoch,
        "frozen": (fitted.hash_before, fitted.hash_after),
    }


def same(a: dict, b: dict) -> bool:
    tensors = all(torch.equal(t, b["weights"][n]) for n, t in a["weights"].items())
    return tensors and all(a[k] == b[k] for k in ("history", "best", "frozen"))


def kill_at(monkeypatch, update: int) -> None:
    """Let a process die in the middle of an update, in spite of everything."""
    stepped = Loop._update

    def or_die(self, batch, epoch):
        if self.step + 1 == update:
            raise Killed
        return stepped(self, batch, epoch)

    monkeypatch.setattr(Loop, "_update", or_die)


QUICK = ("plain", "layers from the top", "stopped early")


@pytest.mark.parametrize(
    "kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
)
def test_a_killed_training_ends_as_if_it_had_not_been(reviews, tmp_path, monkeypatch, kind):
    whole = outcome(train(job(reviews, **KINDS[kind])))
    updates = 3 * len(whole["history"])
    for update in {2, updates}:
        folder = tmp_path / str(update)
        with monkeypatch.context() as patched:
            kill_at(patched, update)
            with pytest.raises(Killed):
                train(job(reviews, folder, **KINDS[kind]))
        assert len(list(folder.glob("step-*"))) == 1
        assert same(outcome(train(job(reviews, folder, **KINDS[kind]))), whole), update


def test_a_signal_is_heeded_at_the_step_and_where_it_was_is_kept(reviews, tmp_path, monkeypatch):
    stepped = Loop._update

    def signalled(self, batch, epoch):
        if self.step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return stepped(self, batch, epoch)

    whole = outcome(train(job(reviews)))
    monkeypatch.setattr(Loop, "_update", signalled)
    with pytest.raises(Interrupted), stop_signals.handled():
        train(job(reviews, tmp_path, minutes=1e9))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]
    monkeypatch.undo()
    assert same(outcome(train(job(reviews, tmp_path))), whole)


def test_a_checkpoint_that_is_damaged_costs_time_and_changes_nothing(reviews, tmp_path, monkeypatch, capsys):
    whole = outcome(train(job(reviews)))
    with monkeypatch.context() as patched:
        kill_at(patched, 3)
        with pytest.raises(Killed):
            train(job(reviews, tmp_path))
    (path,) = tmp_path.glob("step-*")
    (path / "state.safetensors").write_bytes(b"")
    assert same(outcome(train(job(reviews, tmp_path))), whole)
    assert "is damaged (state.safetensors is not what was written) and left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change", [{"learning_rate": 2e-3}, {"early_stopping": True, "patience": 9}, {"num_epochs": 2}]
)
def test_a_checkpoint_of_other_settings_or_rows_is_not_gone_on_with(reviews, tmp_path, monkeypatch, change):
    with monkeypatch.context() as patched:
        kill_at(patched, 3)
        with pytest.raises(Killed):
            train(job(reviews, tmp_path))
    monkeypatch.setattr(Loop, "restore", lambda *_: pytest.fail("a checkpoint of another training was taken"))
    train(job(reviews, tmp_path, minutes=1e9, **change))


def test_a_training_that_ran_short_of_memory_goes_on_as_it_was(reviews, tmp_path, monkeypatch):
    loss = Loop._loss

    def short(self, batch):
        if len(batch["labels"]) > 4:
            raise torch.OutOfMemoryError
        return loss(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(Loop, "_loss", short)
        whole = train(job(reviews))
        kill_at(patched, 3)
        with pytest.raises(Killed):
            train(job(reviews, tmp_path))
    again = train(job(reviews, tmp_path))  # with as much memory as it likes
    assert same(outcome(again), outcome(whole))
    assert again.notes == whole.notes != []
