"""The mean of fine-tuned weights and those before: both ends to the bit, and what lies between."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_runs import plain_config

from hf_transfer import ImageClassification, open_dataset
from hf_transfer.replay.encoding import encode_rows
from hf_transfer.replay.replayed import Replay
from hf_transfer.training.fitting import fit
from hf_transfer.training.job import Ends, Fitted, Job
from hf_transfer.training.loop import Loop
from hf_transfer.training.predicting import mean_loss
from hf_transfer.training.wise import average, best_share, between, losses_between
from hf_transfer.training.workers import Workers, make_accelerator

ROWS, CHECK = np.arange(20), np.arange(20, 30)
SETTINGS = {
    "base_model": "builtin:digits-resnet", "dataset": "builtin:digits_5to9", "max_rows": 30, "num_epochs": 1,
    "batch_size": 10, "learning_rate": 1e-2, "trainable": "last:1", "head_start": "probe", "wise": "0.5",
}  # fmt: skip


@pytest.fixture(scope="module", params=["classes", "numbers"])
def made(request, tmp_path_factory) -> Job:
    config = plain_config(**SETTINGS, target=request.param, output_dir=str(tmp_path_factory.mktemp("run")))
    data = open_dataset(config, ImageClassification)
    task = data.task(config, data.target)
    accelerator = make_accelerator(config)
    encoded = encode_rows(task, data.rows, data.fingerprint, accelerator)
    return Job(
        task, Replay(task, encoded, config, accelerator), config, 1, Workers(accelerator, together=False)
    )


@pytest.fixture(scope="module")
def fitted(made) -> Fitted:
    return fit(made, ROWS)


def plain(made: Job) -> Fitted:
    return fit(replace(made, config=replace(made.config, wise=None)), ROWS)


def equal(model: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(model.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_a_share_of_one_is_plain_fine_tuning_to_the_bit(made, fitted):
    average(fitted, 1.0)
    assert equal(fitted.model, plain(made).model)


def test_a_share_of_none_is_the_pretrained_model_with_its_solved_head_to_the_bit(made, fitted, monkeypatch):
    average(fitted, 0.0)
    monkeypatch.setattr(Loop, "run", lambda _: None)
    assert equal(fitted.model, plain(made).model)
    average(fitted, 1.0)
    assert not equal(fitted.model, plain(made).model)


def test_what_is_frozen_stays_and_what_learned_lies_between(fitted):
    average(fitted, 1.0)
    before, names = {n: t.clone() for n, t in fitted.model.state_dict().items()}, dict(fitted.moving())
    average(fitted, 0.25)
    for name, tensor in fitted.model.state_dict().items():
        if name not in names:
            assert torch.equal(tensor, before[name])
        elif tensor.is_floating_point():
            mean = 0.75 * fitted.ends.start[name] + 0.25 * fitted.ends.tuned[name]
            torch.testing.assert_close(tensor, mean)


def test_statistics_of_normalisation_are_averaged_and_counts_are_the_fine_tuned_ones(fitted):
    moved = [n for n in fitted.ends.tuned if n.endswith("running_mean")]
    assert moved
    start, tuned = fitted.ends.start, fitted.ends.tuned
    mean = between(fitted.ends, 0.5)
    assert any(not torch.equal(start[name], tuned[name]) for name in moved)
    for name in moved:
        torch.testing.assert_close(mean[name].float(), (start[name] + tuned[name]) / 2)
    counts = [n for n in tuned if n.endswith("num_batches_tracked")]
    assert all(torch.equal(mean[name], tuned[name]) for name in counts)


def test_the_mean_of_a_model_and_itself_is_it_to_the_bit(fitted):
    same = between(Ends(fitted.ends.tuned, fitted.ends.tuned), 0.25)
    assert all(torch.equal(same[name].to(t.dtype), t) for name, t in fitted.ends.tuned.items())


def test_losses_at_the_ends_are_those_of_the_models_there(made, fitted):
    found = losses_between(fitted, (0.0, 1.0), CHECK, made.workers)
    average(fitted, 1.0)
    loss = mean_loss(fitted.learner, fitted.batches, CHECK, made.workers)
    spread = 1.0 if fitted.scale is None else float(fitted.scale[1, 0])
    assert found[1] == pytest.approx(loss / spread**2, rel=1e-3)
    assert np.isfinite(found).all()


def test_without_it_no_copy_of_the_weights_is_kept(made):
    assert plain(made).ends is None


@pytest.mark.parametrize(
    ("losses", "share"),
    [
        ([3.0, 2.0, 1.0], 1.0),
        ([1.0, 1.0, 1.0], 0.0),
        ([2.0, 1.0, 1.0], 0.5),
        ([math.nan, 2.0, math.inf], 0.5),
    ],
)
def test_the_least_loss_wins_and_of_equal_ones_the_share_nearest_to_the_start(losses, share):
    assert best_share([0.0, 0.5, 1.0], losses) == share
