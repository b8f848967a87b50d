from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from small_runs import plain_config

from hf_transfer import (
    ImageClassification,
    SequenceClassification,
    TokenClassification,
    cross_validate,
    open_dataset,
)
from hf_transfer.errors import ConfigError
from hf_transfer.layers.phases import freeze_for
from hf_transfer.replay.batching import Batches
from hf_transfer.replay.encoding import encode_rows
from hf_transfer.training.heads.solvers import layer_inputs, solve_output_layer
from hf_transfer.training.predicting import predict
from hf_transfer.training.workers import Workers, make_accelerator

CONFIG = plain_config(
    base_model="builtin:digits-resnet", dataset="builtin:digits_5to9", max_rows=120, trainable="head",
    head_solver="lbfgs", weight_decay=0.1, final="none", num_folds=3,
)  # fmt: skip


@pytest.fixture(scope="module")
def digits():
    data = open_dataset(CONFIG, "image")
    task = ImageClassification(CONFIG, data.label_names)
    accelerator = make_accelerator(CONFIG)
    encoded = encode_rows(task, data.rows, data.fingerprint, accelerator)
    return task, Batches(task, encoded, accelerator.device), accelerator


@pytest.mark.parametrize("solver", ["lbfgs", "ridge"])
def test_the_solved_layer_is_scikit_learns_on_standardised_features(digits, solver):
    task, batches, accelerator = digits
    config, train, valid = replace(CONFIG, head_solver=solver), np.arange(80), np.arange(80, 120)
    model = task.build_model()
    freezing = freeze_for(model, config)
    assert freezing.trainable == {"timm_model.fc.weight", "timm_model.fc.bias"}
    inputs = layer_inputs(model, batches, train)
    learned, labels = inputs.features.astype(float), inputs.labels
    unseen = layer_inputs(model, batches, valid).features.astype(float)
    order = np.concatenate(batches.by_size(valid))
    solve_output_layer(model, batches, train, config)
    found = predict(batches.learner(model), batches, valid, Workers(accelerator, together=False))
    scaler = StandardScaler().fit(learned)
    if solver == "lbfgs":
        own = LogisticRegression(C=1 / (0.1 * 80), max_iter=2000, tol=1e-8).fit(
            scaler.transform(learned), labels
        )
        wanted = own.predict_log_proba(scaler.transform(unseen))
        logits = torch.from_numpy(np.concatenate([found[row] for row in order])).log_softmax(-1).numpy()
    else:
        own = Ridge(alpha=0.1 * 80).fit(scaler.transform(learned), 2.0 * np.eye(5)[labels] - 1)
        wanted = own.predict(scaler.transform(unseen))
        logits = np.concatenate([found[row] for row in order])
    assert np.abs(logits - wanted).max() < 1e-4


def test_each_fold_chooses_its_penalty_without_its_held_out_rows(tmp_path):
    config = replace(CONFIG, weight_decay="auto", output_dir=str(tmp_path / "one"), final="refit")
    data = open_dataset(config, "image")
    result = cross_validate(ImageClassification(config, data.label_names), data, config)
    worst = replace(config, weight_decay=1e4 / 80, output_dir=str(tmp_path / "two"))
    strongest = cross_validate(ImageClassification(worst, data.label_names), data, worst)
    assert all(1e-3 / 80 <= fold.weight_decay <= 1e4 / 80 for fold in result.folds)
    assert result.scores["log_loss"].mean < strongest.scores["log_loss"].mean
    assert not result.incomplete


@pytest.mark.parametrize("solver", ["lbfgs", "ridge"])
def test_a_solved_head_separates_digits_and_is_proved_frozen(tmp_path, solver):
    config = replace(CONFIG, head_solver=solver, weight_decays=(0.01, 1.0), output_dir=str(tmp_path))
    data = open_dataset(config, "image")
    result = cross_validate(ImageClassification(config, data.label_names), data, config)
    assert result.scores["accuracy"].mean > 0.75
    assert result.results.frozen_proof.equal
    assert len(result.results.grid) == 2
    assert result.results.replay


@pytest.mark.parametrize(
    ("kind", "task"),
    [pytest.param("text", SequenceClassification, marks=pytest.mark.slow), ("tokens", TokenClassification)],
)
def test_texts_and_tokens_are_solved_too(tmp_path, tiny_bert_folder, kind, task):
    dataset = "builtin:reviews" if kind == "text" else "builtin:mentions"
    config = replace(
        CONFIG, base_model=str(tiny_bert_folder), dataset=dataset, output_dir=str(tmp_path), final="refit"
    )
    data = open_dataset(config, kind)
    result = cross_validate(task(config, data.label_names), data, config)
    assert result.results.final.kind == "refit"
    assert not result.failed


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trainable": "last:1"}, "needs trainable='head', not 'last:1'"),
        (
            {"learning_rates": (0.1, 0.2)},
            r"weight_decays is its L2\); leave learning_rates out",
        ),
        ({"early_stopping": True}, "has no epochs to stop"),
        ({"augmentation": "flip"}, "sees each picture once"),
    ],
)
def test_settings_that_a_solver_cannot_have_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        replace(CONFIG, **settings)
