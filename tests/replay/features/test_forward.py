from dataclasses import replace

import numpy as np
import pytest
import torch

from hf_transfer import RunConfig, open_dataset
from hf_transfer.machine.cache import StoreFolder, cache_folder, clear, stores_folder
from hf_transfer.replay.encoding import encode_rows
from hf_transfer.replay.features.forward import layer_features
from hf_transfer.tasks import task_of_kind
from hf_transfer.training.workers import make_accelerator


@pytest.fixture
def setting(tiny_bert_folder):
    def make(kind="text", **changes):
        dataset = {"text": "builtin:reviews", "tokens": "builtin:mentions", "image": "builtin:digits_5to9"}[
            kind
        ]
        model = "builtin:digits-resnet" if kind == "image" else str(tiny_bert_folder)
        max_length = None if kind == "image" else 24
        config = RunConfig(base_model=model, dataset=dataset, max_rows=20, max_length=max_length)
        config = config.changed(changes)
        data = open_dataset(config, kind)
        task = task_of_kind(kind)(config, data.label_names)
        accelerator = make_accelerator(config)
        return task, encode_rows(task, data.rows, data.fingerprint, accelerator), config, accelerator

    clear(cache_folder())
    return make


def test_every_group_has_a_row_for_each_text(setting):
    task, encoded, config, accelerator = setting()
    found = layer_features(task, encoded, config, accelerator)
    assert found.groups == ("stem", "block.0", "block.1", "block.2", "block.3", "head")
    assert found["block.1"].shape == (20, 64)
    assert found["head"].shape == (20, 32)  # its pooler is in the checkpoint
    assert found.row_of.tolist() == list(range(20))
    assert [found.depth(group) for group in ("stem", "head")] == [0, 1]
    assert not found.reused


def test_features_are_the_hidden_states_whatever_the_batch(setting):
    task, encoded, config, accelerator = setting()
    found = layer_features(task, encoded, config, accelerator)
    model = task.build_model().eval()
    batch = task.collate([encoded[7]])
    del batch["labels"]
    with torch.inference_mode():
        state = model(**batch, output_hidden_states=True).hidden_states[2]
    wanted = torch.cat([state[:, 0], state.mean(dim=1)], dim=1)
    assert found["block.1"][7] == pytest.approx(wanted[0].numpy(), abs=1e-5)


def test_texts_have_a_table_for_each_pooling_and_the_rest_one(setting):
    found = layer_features(*setting())
    tables = {(group, pooling): table for group, pooling, table in found.tables()}
    assert list(tables)[:2] == [("stem", "first token"), ("stem", "mean")]
    assert list(tables)[-1] == ("head", None)
    for group in found.groups[:-1]:
        both = np.concatenate([tables[group, "first token"], tables[group, "mean"]], axis=1)
        assert np.array_equal(both, found[group])
    assert [pooling for _, pooling, _ in layer_features(*setting("tokens")).tables()] == [None] * 5


def test_the_mean_of_the_last_layer_is_what_a_run_by_the_mean_learns_from(setting, sentence_encoder):
    task, encoded, config, accelerator = setting(base_model=str(sentence_encoder))
    group, pooling, table = list(layer_features(task, encoded, config, accelerator).tables())[-1]
    assert (group, pooling) == ("block.3", "mean")
    model = task.build_model().eval()
    entered = []
    model.output.register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0]))
    batch = task.collate([encoded[7]])
    with torch.inference_mode():
        model(**{name: tensor for name, tensor in batch.items() if name != "labels"})
    assert table[7] == pytest.approx(entered[0][0].numpy(), abs=1e-5)


def test_a_second_pass_is_read_and_is_the_same(setting):
    arguments = setting()
    first, second = layer_features(*arguments), layer_features(*arguments)
    assert (first.reused, second.reused) == (False, True)
    for group in first.groups:
        assert np.array_equal(first[group], second[group])


def test_other_weights_rows_or_a_damaged_file_are_computed_anew(setting):
    task, encoded, config, accelerator = setting()
    layer_features(task, encoded, config, accelerator)
    some = layer_features(task, encoded, config, accelerator, rows=np.array([3, 5]))
    assert not some.reused
    assert some.row_of.tolist() == [3, 5]
    wanted = some["stem"].copy()
    scratch = replace(config, from_scratch=True)
    arm = type(task)(scratch, task.label_names)
    assert not layer_features(arm, encoded, scratch, accelerator).reused
    assert layer_features(arm, encoded, scratch, accelerator).reused  # its weights follow from the seed
    for entry in StoreFolder(stores_folder(), 0).entries():
        values = np.load(entry.path, mmap_mode="r+")
        values += 1
        values.flush()
    again = layer_features(task, encoded, config, accelerator)
    assert not again.reused
    assert again["stem"][[3, 5]] == pytest.approx(wanted, abs=1e-5)


def test_without_room_they_stay_in_memory(setting):
    task, encoded, config, accelerator = setting(cache_gb=0)
    first, second = (layer_features(task, encoded, config, accelerator) for _ in range(2))
    assert not first.reused
    assert not second.reused
    assert not StoreFolder(stores_folder(), 0).entries()
    assert np.array_equal(first["block.0"], second["block.0"])


def test_beyond_a_limit_half_precision_is_stored(setting, monkeypatch):
    arguments = setting()
    full = layer_features(*arguments)
    monkeypatch.setattr("hf_transfer.replay.features.stored._FULL_PRECISION", 100)
    half = layer_features(*arguments)
    assert not half.reused
    assert half["block.1"].dtype == np.float32
    assert half["block.1"] == pytest.approx(full["block.1"], rel=1e-3, abs=1e-3)
    assert not np.array_equal(half["block.1"], full["block.1"])
    assert layer_features(*arguments).reused


def test_a_new_pooler_is_no_layer(setting, tmp_path, tiny_bert_folder):
    from transformers import BertForTokenClassification

    BertForTokenClassification.from_pretrained(tiny_bert_folder, num_labels=3).save_pretrained(tmp_path)
    for file in tiny_bert_folder.glob("tokenizer*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert layer_features(*setting(base_model=str(tmp_path))).groups[-1] == "block.3"


def test_each_word_has_a_row(setting):
    task, encoded, config, accelerator = setting(
        "tokens", max_length=12
    )  # so short that sentences are cut up
    data = open_dataset(config, "tokens")
    found = layer_features(task, encoded, config, accelerator)
    assert len(encoded) > len(data.rows)
    assert found.row_of.tolist() == [i for i, row in enumerate(data.rows["label"]) for _ in row]
    assert found.groups[-1] == "block.3"
    assert found["block.3"].shape == (len(found.row_of), 32)


def test_pictures_go_through_convolutions(setting):
    task, encoded, config, accelerator = setting("image", augmentation="flip")
    first = layer_features(task, encoded, config, accelerator)
    assert first.groups == ("stem", "block.0", "block.1", "block.2", "block.3")
    assert [first[group].shape[1] for group in first.groups] == [32, 32, 48, 192, 96]
    clear(cache_folder())
    assert np.array_equal(layer_features(task, encoded, config, accelerator)["block.3"], first["block.3"])
