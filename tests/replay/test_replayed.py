import os
from dataclasses import replace

import datasets
import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from small_runs import plain_config
from transformers import AutoModelForSequenceClassification

from hf_transfer import (
    ImageClassification,
    SequenceClassification,
    TokenClassification,
    cross_validate,
    open_dataset,
)
from hf_transfer.layers import freeze, has_adapters
from hf_transfer.layers.phases import phases_of
from hf_transfer.machine.cache import stores_folder
from hf_transfer.replay import replayed, stores
from hf_transfer.replay.encoding import encode_rows
from hf_transfer.replay.replayed import Replay
from hf_transfer.replay.replayed_batches import ReplayedBatches
from hf_transfer.training.workers import make_accelerator

TASKS = {"image": ImageClassification, "text": SequenceClassification, "tokens": TokenClassification}
DATA = {"image": "builtin:digits_5to9", "text": "builtin:reviews", "tokens": "builtin:mentions"}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    """No test finds what another has stored, and none hangs on how fast this machine is."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(replayed, "_READ_PER_SECOND", 1e99)


@pytest.fixture
def config_for(tmp_path, tiny_bert_folder):
    def make(kind, **settings):
        given = {
            "base_model": "builtin:digits-resnet" if kind == "image" else str(tiny_bert_folder),
            "dataset": DATA[kind], "max_rows": 32, "num_folds": 2, "num_epochs": 2, "batch_size": 8,
            "learning_rate": 1e-2, "max_length": None if kind == "image" else 24,
            "trainable": "head", "final": "none",
            "output_dir": str(tmp_path / "run"), "overwrite": True,
        }  # fmt: skip
        return plain_config(**(given | settings))

    return make


def task_for(kind, config):
    data = open_dataset(config, kind)
    return TASKS[kind](config, data.label_names), data


def prepared(kind, config):
    task, data = task_for(kind, config)
    accelerator = make_accelerator(config)
    replay = Replay(task, encode_rows(task, data.rows, data.fingerprint, accelerator), config, accelerator)
    replay.prepare()
    return replay


def run(kind, config):
    task, data = task_for(kind, config)
    return cross_validate(task, data, config)


def frozen(replay):
    """A model as each fold builds it, and its freezing."""
    model = replay.task.build_model()
    return model, freeze(model, replay.config.trainable, norm=replay.config.norm)


def all_features(replay):
    """Everything stored, of each phase."""
    return [np.array(found.batches.store.array) for found in replay.prepared.values()]


def store_files(config):
    return sorted(stores_folder().glob("*.npy"))


def check_same_predictions(found, wanted):
    """Equal in what they say; the logits may differ by rounding, as sums depend on a batch's size."""
    found, wanted = found.predictions, wanted.predictions
    assert found.column_names == wanted.column_names
    assert len(found) == len(wanted) > 0
    for name in set(found.column_names) - {"logits"}:
        assert found[name].to_pylist() == wanted[name].to_pylist(), name
    if "logits" in found.column_names:
        pairs = zip(found["logits"].to_pylist(), wanted["logits"].to_pylist(), strict=True)
        for ours, theirs in pairs:
            np.testing.assert_allclose(np.ravel(ours), np.ravel(theirs), atol=2e-4)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("image", {"trainable": "head"}),
        pytest.param("image", {"trainable": "last:1", "schedule": "gradual"}, marks=pytest.mark.slow),
        pytest.param("text", {"trainable": "head", "learning_rate": 1e-1}, marks=pytest.mark.slow),
        pytest.param(
            "text",
            {"trainable": "last:1", "schedule": "lp-ft", "learning_rate": 3e-2},
            marks=pytest.mark.slow,
        ),
        pytest.param("tokens", {"trainable": "head", "class_weights": "balanced"}, marks=pytest.mark.slow),
        ("tokens", {"trainable": "last:1", "class_weights": "balanced"}),
    ],
    ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else value,
)
def test_replaying_changes_no_prediction(config_for, kind, settings):
    config = config_for(kind, **settings)
    ours, plain = run(kind, config), run(kind, replace(config, replay=False))
    about = ours.results.replay
    assert len(about) == (1 if config.schedule == "constant" else 2)
    assert not any(a.reused for a in about)
    assert plain.results.replay == []
    check_same_predictions(ours, plain)
    (said,) = {"logits", "predictions"} & set(plain.predictions.column_names)
    assert len({str(value) for value in plain.predictions[said].to_pylist()}) > 10  # not one answer for all


@pytest.mark.parametrize("kind", ["image", "text", "tokens"])
def test_replayed_batches_give_the_logits_of_plain_ones(config_for, kind):
    replay = prepared(kind, config_for(kind, trainable="last:1"))
    model, freezing = frozen(replay)
    batches = replay.batches(model, freezing)
    assert type(batches) is ReplayedBatches
    model.eval()
    for positions in (np.array([3, 0, 17]), np.array([5]), np.arange(20)):
        logits, labels = [], []
        for some in (batches, replay.plain):
            batch = some.collate(positions)
            labels.append(batch.pop("labels"))
            with torch.no_grad():
                logits.append(some.learner(model)(**batch))
        assert torch.equal(*labels)
        # In a shorter batch a row has less padding, and other sums: what is nobody's is left out.
        inside = labels[0] != -100
        torch.testing.assert_close(logits[0][inside], logits[1][inside], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["image", "text"])
def test_a_second_run_finds_what_the_first_has_stored(config_for, kind):
    config = config_for(kind, trainable="last:1")
    first = prepared(kind, config)
    again = prepared(kind, replace(config, learning_rate=1e-3, num_epochs=5))
    assert [a["reused"] for a in first.describe()] == [False]
    assert [a["reused"] for a in again.describe()] == [True]
    assert np.array_equal(all_features(first)[0], all_features(again)[0])
    assert len(store_files(config)) == 1


@pytest.mark.parametrize("other", [{"max_rows": 30}, {"trainable": "last:2"}])
def test_other_rows_or_other_layers_are_stored_beside_it(config_for, other):
    config = config_for("text", trainable="last:1")
    prepared("text", config)
    assert [a["reused"] for a in prepared("text", replace(config, **other)).describe()] == [False]
    assert len(store_files(config)) == 2


def cut_off(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    path.write_bytes(b"")


def overwrite(path):
    np.load(path, mmap_mode="r+")[:] += 1


def not_numbers(path):
    np.load(path, mmap_mode="r+")[:] = np.nan


def other_type(path):
    np.save(path, np.load(path).view(np.int32))


@pytest.mark.parametrize(
    ("kind", "damages"), [("image", (overwrite,)), ("text", (cut_off, empty, not_numbers, other_type))]
)
def test_a_damaged_store_is_noticed_and_made_again(config_for, kind, damages):
    config = config_for(kind, trainable="last:1")
    (wanted,) = all_features(prepared(kind, config))
    (path,) = store_files(config)
    for damage in damages:
        damage(path)
        again = prepared(kind, config)
        assert [a["reused"] for a in again.describe()] == [False], damage
        assert again.notes == []
        assert np.array_equal(all_features(again)[0], wanted)
    assert [a["reused"] for a in prepared(kind, config).describe()] == [True]


@pytest.mark.slow
def test_without_room_it_runs_in_full_and_says_so(config_for):
    config = config_for("text", trainable="last:1", cache_gb=1e-6, num_epochs=1)
    replay = prepared("text", config)
    assert replay.prepared == {}
    assert store_files(config) == []
    (note,) = replay.notes
    assert "was not stored" in note
    assert "more than cache_gb=1e-06" in note
    ours = run("text", config)
    assert note in ours.results.notes
    assert ours.results.replay == []
    assert ours.predictions.equals(run("text", replace(config, replay=False)).predictions)


def test_what_is_quicker_to_compute_than_to_read_is_not_stored(config_for, monkeypatch):
    monkeypatch.setattr(replayed, "_READ_PER_SECOND", 1.0)
    config = config_for("image")
    replay = prepared("image", config)
    assert replay.prepared == {}
    assert store_files(config) == []
    assert "reading their output takes" in replay.notes[0]


def test_changed_pictures_are_not_replayed_without_views(config_for):
    config = config_for("image", augmentation="crop")
    replay = prepared("image", config)
    assert replay.prepared == {}
    assert store_files(config) == []
    assert "cached_views=4 would store" in replay.notes[0]


def test_changed_pictures_are_replayed_from_different_views(config_for):
    replay = prepared("image", config_for("image", augmentation="crop", cached_views=2))
    assert replay.notes == []
    (found,) = replay.prepared.values()
    batches, positions = found.batches, np.arange(12)
    plain, one, two = (batches.store.read(positions, np.full(12, view)) for view in range(3))
    assert not torch.equal(plain, one)
    assert not torch.equal(one, two)
    assert not torch.equal(plain, two)
    taken = batches.collate(positions, [4] * 6 + [7] * 6)["features"]
    assert torch.equal(taken, torch.cat([one[:6], two[6:]]))
    assert torch.equal(batches.collate(positions)["features"], plain)  # when scored, pictures stay plain


def test_views_without_augmentation_change_nothing(config_for):
    replay = prepared("image", config_for("image", cached_views=2))
    (features,) = all_features(replay)
    assert len(features) == 1
    (found,) = replay.prepared.values()
    positions = np.arange(5)
    seen = [found.batches.collate(positions, seeds)["features"] for seeds in (None, range(5))]
    assert torch.equal(*seen)


@pytest.mark.slow
def test_training_on_views_is_reproducible(config_for, tmp_path, monkeypatch):
    config = config_for("image", augmentation="crop", cached_views=2, trainable="last:1")
    first = run("image", config)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "another cache")
    again = run("image", config)
    assert [a.reused for a in (*first.results.replay, *again.results.replay)] == [False, False]
    assert again.predictions.equals(first.predictions)


@pytest.mark.parametrize("settings", [{"from_scratch": True}, {"replay": False}, {"trainable": "all"}])
def test_what_differs_in_each_fold_or_is_not_wanted_is_not_replayed(config_for, settings):
    config = config_for("text", **settings)
    replay = prepared("text", config)
    assert replay.prepared == {}
    assert replay.describe() == []
    assert store_files(config) == []
    assert replay.batches(*frozen(replay)) is replay.plain


@pytest.mark.parametrize("kind", ["image", "text"])
def test_a_model_whose_frozen_part_differs_gets_plain_batches(config_for, kind):
    replay = prepared(kind, config_for(kind, trainable="last:1"))
    model, freezing = frozen(replay)
    cut = replay.batches(model, freezing).cut
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.requires_grad):
            parameter.add_(1)
        assert type(replay.batches(model, freezing)) is ReplayedBatches
        names = [name for name, p in model.named_parameters() if name in cut.below]
        for name in (names[0], names[-1]):
            parameter = model.get_parameter(name)
            kept = parameter.clone()
            parameter.flatten()[0] += 1e-3
            assert replay.batches(model, freezing) is replay.plain
            parameter.copy_(kept)
            assert type(replay.batches(model, freezing)) is ReplayedBatches


def test_another_choice_of_layers_gets_plain_batches(config_for):
    replay = prepared("text", config_for("text", trainable="last:1"))
    model = replay.task.build_model()
    assert replay.batches(model, freeze(model, "last:2")) is replay.plain


def test_each_phase_has_a_cut_of_its_own(config_for):
    config = config_for("text", trainable="last:2", schedule="gradual", num_epochs=3)
    replay = prepared("text", config)
    model = replay.task.build_model()
    seen = []
    for phase in phases_of(config, freeze(model, config.trainable)):
        batches = replay.batches(model, freeze(model, config.trainable, only=phase.only))
        seen.append(len(batches.cut.below))
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == 3


@pytest.fixture
def _full_precision_again():
    """Accelerate keeps one precision for the whole process."""
    yield
    AcceleratorState._reset_state()


@pytest.mark.usefixtures("_full_precision_again")
@pytest.mark.parametrize(("precision", "used"), [("no", False), ("bf16", True)])
def test_what_is_stored_may_differ_by_as_much_as_the_arithmetic(precision, used, config_for, monkeypatch):
    AcceleratorState._reset_state()
    features_at = replayed.features_at

    def one_percent_off(model, cut, batch):
        found = features_at(model, cut, batch)
        return found * 1.01 if len(found) == 3 else found  # three rows are what a store is checked by

    monkeypatch.setattr(stores, "features_at", one_percent_off)
    replay = prepared("text", config_for("text", mixed_precision=precision))
    assert bool(replay.prepared) == used
    assert any("did not agree" in note for note in replay.notes) != used


@pytest.mark.usefixtures("_full_precision_again")
@pytest.mark.parametrize("kind", ["text", pytest.param("image", marks=pytest.mark.slow)])
def test_heads_learn_from_a_store_of_coarser_arithmetic(kind, config_for):
    AcceleratorState._reset_state()
    result = run(kind, config_for(kind, mixed_precision="bf16"))
    assert result.results.hardware.mixed_precision == "bf16"
    assert result.results.replay
    assert not result.failed


@pytest.mark.slow
def test_adapters_are_trained_from_the_store_and_published_as_plain_weights(config_for):
    pytest.importorskip("peft")
    config = config_for("text", trainable="head+lora:2", final="refit")
    found = run("text", config)
    (about,) = found.results.replay
    assert about.cut
    proof = found.results.frozen_proof
    assert proof.equal
    assert proof.groups == ["stem"]
    plain = replace(config, replay=False, final="none", output_dir=f"{config.output_dir}-plain")
    check_same_predictions(found, run("text", plain))
    model, report = AutoModelForSequenceClassification.from_pretrained(
        f"{config.output_dir}/model", output_loading_info=True
    )
    assert not report["missing_keys"] | report["unexpected_keys"]
    assert not has_adapters(model)


@pytest.mark.slow
def test_a_grid_with_adapters_replays_its_other_configurations_too(config_for):
    pytest.importorskip("peft")
    config = config_for("text", trainables=("head+lora:2", "last:1"), num_epochs=1)
    found = run("text", config)
    assert len(found.results.replay) == 2
    alone = run("text", replace(config, trainables=(), trainable="last:1"))
    scores = [e.scores["accuracy"].mean for e in found.results.grid if e.settings["trainable"] == "last:1"]
    assert scores == [alone.scores["accuracy"].mean]
