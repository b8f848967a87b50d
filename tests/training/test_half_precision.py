"""The scale of fp16, on a processor: its scaler is there, and sums are those of float32."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import AutocastKwargs
from small_runs import plain_config

from hf_transfer import RunConfig, SequenceClassification, open_dataset
from hf_transfer.errors import ShortOfMemoryError
from hf_transfer.replay.encoding import encode_rows
from hf_transfer.replay.replayed import Replay
from hf_transfer.training.checkpoint import Checkpoints
from hf_transfer.training.fitting import fit
from hf_transfer.training.job import Job
from hf_transfer.training.loop import Loop
from hf_transfer.training.workers import Workers, make_accelerator

ROWS = np.arange(16)


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Makes a job, with the scale of fp16 or without; a scale of 2 ** n changes no bit of a gradient."""
    config = plain_config(
        base_model="builtin:tiny-bert", dataset="builtin:reviews", max_rows=24, num_epochs=2, batch_size=8,
        learning_rate=1e-3, max_length=16, trainable="last:1", output_dir=str(tmp_path),
    )  # fmt: skip
    data = open_dataset(config, "text")
    task = SequenceClassification(config, data.label_names)
    encoded = encode_rows(task, data.rows, data.fingerprint, make_accelerator(config))

    def make(*, half: bool, folder=None, **settings) -> Job:
        accelerator = make_accelerator(config)
        if half:
            monkeypatch.setattr(Accelerator, "mixed_precision", property(lambda _: "fp16"))
            accelerator.native_amp, accelerator.autocast_handler = True, AutocastKwargs(enabled=False)
            accelerator.scaler = torch.amp.GradScaler("cpu")
        changed = replace(config, **settings)
        replay = Replay(SequenceClassification(changed, data.label_names), encoded, changed, accelerator)
        checkpoints = None if folder is None else Checkpoints(folder, "one", 0.0)
        return Job(task, replay, changed, 1, Workers(accelerator, together=False), checkpoints=checkpoints)

    return make


def weights(fitted):
    return torch.cat([p.detach().flatten() for p in fitted.model.parameters()])


def overflow_at(monkeypatch, *updates: int) -> None:
    """Let gradients overflow at some updates, as they do at the beginning of many trainings."""
    gradients = Loop._gradients

    def overflowing(self, batch, epoch):
        loss = gradients(self, batch, epoch)
        if self.step + 1 in updates:
            next(p for p in self.model.parameters() if p.grad is not None).grad.fill_(torch.inf)
        return loss

    monkeypatch.setattr(Loop, "_gradients", overflowing)


@pytest.mark.parametrize("schedule", ["constant", "lp-ft", "gradual"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_gradients_are_divided_by_the_scale_once_in_every_phase(made, schedule, optimizer):
    settings = {"schedule": schedule, "optimizer": optimizer, "learning_rate": 1e-3}
    plain = weights(fit(made(half=False, **settings), ROWS))
    assert torch.equal(weights(fit(made(half=True, **settings), ROWS)), plain)


def test_a_training_starts_with_the_scale_that_the_one_before_started_with(made, monkeypatch):
    job = made(half=True, num_epochs=1)
    first = weights(fit(job, ROWS))
    with monkeypatch.context() as patched:
        overflow_at(patched, 1, 2)
        assert not torch.equal(weights(fit(job, ROWS)), first)  # both updates were left out
    assert job.workers.accelerator.scaler.get_scale() == 2.0**14
    assert torch.equal(weights(fit(job, ROWS)), first)
    assert job.workers.accelerator.scaler.get_scale() == 2.0**16


def test_a_training_that_died_within_an_update_leaves_the_next_alone(made, monkeypatch):
    job = made(half=True, num_epochs=1)
    first = weights(fit(job, ROWS))
    with monkeypatch.context() as patched:
        step = torch.optim.AdamW.step
        tries = []

        def dies(self, *args, **kwargs):
            tries.append(1)
            if len(tries) > 2:  # the first made the moments
                raise torch.OutOfMemoryError("CUDA out of memory. Tried.")
            return step(self, *args, **kwargs)

        patched.setattr(torch.optim.AdamW, "step", dies)
        words = r"Memory ran out at update 2, as the weights moved \(CUDA out of memory"
        with pytest.raises(ShortOfMemoryError, match=words):
            fit(job, ROWS)
    assert torch.equal(weights(fit(job, ROWS)), first)


def test_a_resumed_training_has_the_scale_of_an_undisturbed_one(made, monkeypatch, tmp_path):
    overflow_at(monkeypatch, 1)
    whole = made(half=True)
    fitted, scale = weights(fit(whole, ROWS)), whole.workers.accelerator.scaler.state_dict()
    assert scale["scale"] == 2.0**15
    update = Loop._update

    class Killed(BaseException):
        pass

    def dies(self, batch, epoch):
        if self.step == 2:
            raise Killed
        return update(self, batch, epoch)

    with monkeypatch.context() as patched:
        patched.setattr(Loop, "_update", dies)
        with pytest.raises(Killed):
            fit(made(half=True, folder=tmp_path / "kept"), ROWS)
    again = made(half=True, folder=tmp_path / "kept")
    assert torch.equal(weights(fit(again, ROWS)), fitted)
    assert again.workers.accelerator.scaler.state_dict() == scale


@pytest.mark.parametrize("half", [False, True])
def test_memory_that_ends_for_a_moment_as_moments_are_made_costs_nothing(made, monkeypatch, half):
    wanted = weights(fit(made(half=half), ROWS))
    step, tries = torch.optim.AdamW.step, []

    def short_once(self, *args, **kwargs):
        tries.append(1)
        if len(tries) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate the moments.")
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", short_once)
    assert torch.equal(weights(fit(made(half=half), ROWS)), wanted)


@pytest.mark.parametrize("half", [False, True])
def test_memory_that_ends_within_a_pass_leaves_no_trace_in_the_update(made, monkeypatch, half):
    """Dropout has drawn and gradients are there when memory ends; equal to half the rows from the start."""
    loss, calls = Loop._loss, []

    def short(self, batch):
        found = loss(self, batch)
        calls.append(len(batch["labels"]))
        if calls[-1] > 4:
            found.backward()
            raise torch.OutOfMemoryError("CUDA out of memory. Tried.")
        return found

    wanted = weights(fit(made(half=half, per_device_batch_size=4), ROWS))
    monkeypatch.setattr(Loop, "_loss", short)
    found = fit(made(half=half), ROWS)
    assert torch.equal(weights(found), wanted)
    assert (calls.count(8), len(found.notes)) == (1, 1)


def test_each_training_of_a_process_has_its_own_precision():
    made = [make_accelerator(RunConfig(mixed_precision=one)) for one in ("bf16", None, "bf16", "no")]
    assert [one.mixed_precision for one in made] == ["bf16", "no", "bf16", "no"]
