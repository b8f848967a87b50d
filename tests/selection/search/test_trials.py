import math
from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from hf_transfer import ImageClassification, RunConfig, open_dataset
from hf_transfer.selection.search.candidates import propose
from hf_transfer.selection.search.run import open_study
from hf_transfer.selection.search.trials import Entry, Trials
from hf_transfer.study.cross_validation import check_study
from hf_transfer.tasks import task_of_kind
from hf_transfer.training.fitting import fit
from hf_transfer.training.job import Job
from hf_transfer.training.predicting import calibrated_loss, mean_loss
from hf_transfer.training.workers import Workers


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    config = RunConfig(
        base_model="builtin:digits-resnet", dataset="builtin:digits_5to9", max_rows=60, num_folds=3,
        num_epochs=2, batch_size=20, num_repeats=1, learning_rates=(1e-3,),
        output_dir=str(tmp_path_factory.mktemp("trials")),
    )  # fmt: skip
    data = open_dataset(config, "image")
    task = ImageClassification(config, data.label_names)
    study = check_study(open_study(task, data, config))
    return Trials(study.runner, np.arange(0, 40, 2), "some", 40), propose(task, config, 40)


def test_a_trial_makes_as_many_updates_as_a_real_training(trials):
    found, candidates = trials
    entry = Entry(candidates[0], 1e-3)
    config = found._config(entry, 10)
    assert config.batch_size == 5
    assert math.ceil(10 / config.batch_size) == math.ceil(40 / 20)
    assert config.learning_rate == pytest.approx(1e-3 / 2)
    assert config.num_epochs == 2
    # Never more rows at once than the real one has, nor too few for BatchNorm.
    assert found._config(entry, 400).batch_size == 20
    assert found._config(entry, 400).learning_rate == 1e-3
    assert found._config(entry, 2).batch_size == 4


def test_the_rate_of_sgd_falls_with_the_batch(trials):
    found, candidates = trials
    candidate = replace(candidates[0], config=replace(candidates[0].config, optimizer="sgd"))
    assert found._config(Entry(candidate, 1e-3), 10).learning_rate == pytest.approx(1e-3 / 4)


def test_each_half_learns_once_and_scores_once_and_no_other_row_is_read(trials):
    found, candidates = trials
    (learn, score), (other_learn, other_score) = found.halves
    np.testing.assert_array_equal(np.sort(learn), np.sort(other_score))
    np.testing.assert_array_equal(np.sort(score), np.sort(other_learn))
    assert set(learn) | set(score) == set(found.rows.tolist())
    (trial,) = found.run([(Entry(candidates[-1], 1e-3), 1)])
    assert math.isfinite(trial.loss)
    assert trial.passes == pytest.approx(3 * 10 * 2 + 10)


class Surer(nn.Module):
    """The same network, three times as sure."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, **batch):
        return 3 * self.inner(**batch)


@pytest.mark.parametrize(
    ("kind", "model", "dataset"),
    [("image", "digits-resnet", "digits_5to9"), ("tokens", "tiny-bert", "mentions")],
)
def test_the_loss_of_a_trial_forgives_being_too_sure(kind, model, dataset, tmp_path):
    config = RunConfig(
        base_model=f"builtin:{model}", dataset=f"builtin:{dataset}", max_rows=20,
        max_length=None if kind == "image" else 16,
        trainable="head", learning_rate=1e-2, num_epochs=3, batch_size=8, output_dir=str(tmp_path),
    )  # fmt: skip
    data = open_dataset(config, kind)
    study = check_study(open_study(task_of_kind(kind)(config, data.label_names), data, config))
    experiment, runner = study.experiment, study.runner
    rows = np.arange(len(runner.replay.encoded))
    workers = Workers(runner.accelerator, together=False)
    fitted = fit(Job(experiment.task, runner.replay, experiment.config, 0, workers), rows)
    learner, args = fitted.learner, (fitted.batches, rows, workers)
    calibrated = calibrated_loss(learner, *args)
    assert calibrated_loss(Surer(learner), *args) == pytest.approx(calibrated, rel=1e-4)
    assert calibrated < min(mean_loss(learner, *args), mean_loss(Surer(learner), *args))
