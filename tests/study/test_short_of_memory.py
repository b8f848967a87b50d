"""Memory that ends outside of an update: the run goes on in parts or from disk, and says so."""

import gc
import weakref

import numpy as np
import pytest
import torch
from small_runs import plain_config

from hf_transfer import ImageClassification, cross_validate, open_dataset
from hf_transfer.machine.memory import noted
from hf_transfer.replay import replayed, stores
from hf_transfer.replay.encoding import encode_rows
from hf_transfer.replay.features import forward, stored
from hf_transfer.replay.replayed import Replay
from hf_transfer.replay.store import FeatureStore
from hf_transfer.study import fold_runner
from hf_transfer.training import predicting
from hf_transfer.training.workers import make_accelerator


@pytest.fixture
def config_of(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(replayed, "_READ_PER_SECOND", 1e99)

    def make(name: str, **settings):
        given = {
            "base_model": "builtin:digits-resnet", "dataset": "builtin:digits_5to9", "max_rows": 40,
            "num_folds": 2, "num_epochs": 1, "batch_size": 8, "learning_rate": 3e-3, "trainable": "last:1",
            "final": "none", "output_dir": str(tmp_path / name), "cache_gb": 1.0,
        }  # fmt: skip
        return plain_config(**(given | settings))

    return make


def run(config):
    data = open_dataset(config, "image")
    return cross_validate(ImageClassification(config, data.label_names), data, config)


def logits(result):
    rows = sorted(result.predictions.to_pylist(), key=lambda row: row["row_id"])
    return np.array([row["logits"] for row in rows])


def short(function, rows):
    """The same function on a device where no more than so many rows fit."""

    def called(*args, **kwargs):
        for one in args:
            size = len(next(iter(one.values()))) if isinstance(one, dict) else 0
            if size > rows:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried.")
        return function(*args, **kwargs)

    return called


def always_short(*_args, **_kwargs):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried.")


def prepared(config):
    data = open_dataset(config, "image")
    task, accelerator = ImageClassification(config, data.label_names), make_accelerator(config)
    replay = Replay(task, encode_rows(task, data.rows, data.fingerprint, accelerator), config, accelerator)
    with noted(replay.notes):
        replay.prepare()
    return replay


def features(replay):
    (found,) = replay.prepared.values()
    return found.batches.collate(np.arange(40))["features"]


def test_what_frozen_layers_put_out_is_computed_in_parts(config_of, monkeypatch):
    whole = features(prepared(config_of("whole")))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", config_of("another cache").output_dir)
    monkeypatch.setattr(stores, "features_at", short(stores.features_at, 3))
    parts = prepared(config_of("parts"))
    assert parts.notes == ["Memory ran out as the frozen layers were run: 2 rows at a time instead of 16."]
    assert torch.allclose(features(parts), whole, atol=1e-5)


@pytest.mark.parametrize(
    ("place", "name", "note"),
    [
        (replayed, "find_cut", "memory ran out in the proof that they can be replayed."),
        (stores, "features_at", "memory ran out as their output was stored."),
    ],
)
def test_where_replay_does_not_fit_the_frozen_layers_run_in_full(config_of, monkeypatch, place, name, note):
    monkeypatch.setattr(place, name, always_short)
    replay = prepared(config_of("full"))
    assert (replay.prepared, replay.notes) == ({}, [f"The frozen layers run in full: {note}"])
    assert not [path for path in replay.stores.folder.path.rglob("*") if path.suffix == ".npy"]


def test_a_store_that_does_not_fit_on_the_device_is_read_from_disk(config_of, monkeypatch):
    whole = features(prepared(config_of("whole")))
    monkeypatch.setattr(stores, "fits_on_device", lambda needed, device: True)
    tensor = FeatureStore._tensor

    def read_alone(self, values):
        return always_short() if values.shape == self.array.shape else tensor(self, values)

    monkeypatch.setattr(FeatureStore, "_tensor", read_alone)
    replay = prepared(config_of("again"))
    assert replay.notes == ["Memory ran out for stored features on the device: they are read from disk."]
    assert torch.equal(features(replay), whole)


def test_rows_are_scored_in_parts_and_the_fold_says_so(config_of, monkeypatch, capsys):
    wanted = logits(run(config_of("whole")))
    whole = predicting.in_parts

    def narrow(run, parts, when):
        def narrowed(part):
            if len(part) > 3:
                always_short()
            return run(part)

        return whole(narrowed, parts, when)

    monkeypatch.setattr(predicting, "in_parts", narrow)
    found = run(config_of("short"))
    note = "Memory ran out as rows were predicted: 2 rows at a time instead of 20."
    assert all(note in fold.notes for fold in found.folds)
    assert note in capsys.readouterr().err
    assert logits(found) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize(
    "fails", [torch.OutOfMemoryError("CUDA out of memory. Tried."), ValueError("a defect")]
)
def test_a_fold_that_failed_leaves_nothing_of_its_model(config_of, monkeypatch, fails):
    fit, models, alive = fold_runner.fit, [], []

    def watched(job, *args):
        alive.append(sum(model() is not None for model in models))
        build = job.task.build_model

        def build_watched():
            model = build()
            models.append(weakref.ref(model))
            return model

        with monkeypatch.context() as patched:
            patched.setattr(job.task, "build_model", build_watched)
            if len(alive) == 1:
                patched.setattr("hf_transfer.training.loop.Loop._gradients", _failing(fails))
            return fit(job, *args)

    monkeypatch.setattr(fold_runner, "fit", watched)
    gc.disable()
    try:
        result = run(config_of("run"))
    finally:
        gc.enable()
    assert [fold.status for fold in result.folds] == ["failed", "done"]
    assert alive == [0, 0]
    assert len(models) == 2


def _failing(error):
    def gradients(_self, _batch, _epoch):
        raise type(error)(*error.args)  # a new one, as its traceback holds on to the frames

    return gradients


def test_features_are_computed_in_parts_and_are_the_same(config_of, monkeypatch):
    config = config_of("features", trainable="head")
    data = open_dataset(config, "image")
    task, accelerator = ImageClassification(config, data.label_names), make_accelerator(config)
    encoded = encode_rows(task, data.rows, data.fingerprint, accelerator)
    wanted = forward.layer_features(task, encoded, config, accelerator)
    outputs = forward._LayerPass._outputs

    def narrow(self, positions):
        if len(positions) > 3:
            always_short()
        return outputs(self, positions)

    monkeypatch.setattr(forward._LayerPass, "_outputs", narrow)
    monkeypatch.setattr(stored.StoredFeatures, "found", lambda self: None)
    found = forward.layer_features(task, encoded, config, accelerator)
    assert not found.reused
    for group in wanted.groups:
        assert found[group] == pytest.approx(wanted[group], abs=1e-5)
