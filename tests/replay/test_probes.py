"""Rows and settings that the search for a cut has to see in time."""

import datasets
import numpy as np
import pytest
from datasets import Dataset
from small_runs import plain_config

from hf_transfer import SequenceClassification
from hf_transfer.data.rows import label_rows
from hf_transfer.layers import freeze
from hf_transfer.replay import replayed
from hf_transfer.replay.encoding import encode_rows
from hf_transfer.replay.replayed import Replay
from hf_transfer.replay.replayed_batches import ReplayedBatches
from hf_transfer.training.workers import make_accelerator


@pytest.fixture
def prepared(tmp_path, tiny_bert_folder, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(replayed, "_READ_PER_SECOND", 1e99)

    def prepare(texts: list[str], **settings) -> Replay:
        config = plain_config(base_model=str(tiny_bert_folder), max_length=8, trainable="last:1", **settings)
        rows = Dataset.from_dict({"text": texts, "label": [("a", "b")[i % 2] for i in range(len(texts))]})
        data = label_rows(rows, config, "text")
        task = SequenceClassification(config, data.label_names)
        accelerator = make_accelerator(config)
        encoded = encode_rows(task, data.rows, data.fingerprint, accelerator)
        replay = Replay(task, encoded, config, accelerator)
        replay.prepare()
        return replay

    return prepare


def batches_of(replay: Replay) -> ReplayedBatches:
    model = replay.task.build_model()
    batches = replay.batches(model, freeze(model, "last:1"))
    assert isinstance(batches, ReplayedBatches)
    return batches


def test_few_short_texts_among_many_that_were_cut_off(prepared):
    # More short ones than are computed at once, and fewer than any share of the rows that is looked at.
    short, long = [f"good {i}" for i in range(70)], [f"a long text of many words {i}" for i in range(430)]
    replay = prepared(short + long)
    batches = batches_of(replay)
    assert set(replay.plain.sizes) >= {8}
    assert replay.plain.sizes.min() < 8
    assert batches.store.shape.by_token
    for positions in (np.arange(3), np.arange(68, 73)):
        features, inputs = batches.collate(positions)["features"], replay.plain.collate(positions)
        assert features.shape[:2] == inputs["input_ids"].shape


def test_texts_of_one_length_are_stored_too(prepared):
    replay = prepared(["a long text of many words"] * 20 + ["another text of so many words"] * 20)
    features = batches_of(replay).collate(np.arange(5))["features"]
    assert features.shape[:2] == (5, 8)
