"""Sounds become model inputs that padding cannot change, and what was done to them is said."""

import numpy as np
import pytest
import torch
import transformers as hf
from datasets import Dataset
from sound_models import FAMILIES, noise, save_model, tones

from hf_transfer import AudioClassification, RunConfig
from hf_transfer.data.rows import label_rows
from hf_transfer.errors import DataError, ModelError
from hf_transfer.layers import freeze
from hf_transfer.replay.batching import Batches
from hf_transfer.replay.encoding import encode_values
from hf_transfer.tasks.inputs.sounds import encode_samples

LENGTHS = (0.3, 0.5, 0.3, 0.45)  # seconds


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return {family: save_model(tmp_path_factory.mktemp(family), family) for family in FAMILIES}


def task_of(model, **settings):
    return AudioClassification(RunConfig(base_model=model, **settings), ["a", "b"])


def values(lengths=LENGTHS, rate=16_000):
    return [
        {"bytes": encode_samples(noise(seconds, rate, seed), rate), "path": None}
        for seed, seconds in enumerate(lengths)
    ]


def batches_of(task, sounds):
    return Batches(task, encode_values(task, sounds), torch.device("cpu"))


def logits_of(model, batch):
    with torch.no_grad():
        return model.eval()(**{name: tensor for name, tensor in batch.items() if name != "labels"}).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_is_the_same_in_every_batch(models, family):
    task = task_of(models[family])
    batches, model = batches_of(task, values()), task.build_model()
    alone = torch.cat([logits_of(model, batches.collate(np.array([row]))) for row in range(len(LENGTHS))])
    for chosen in ([0, 1, 2, 3], [0, 2], [3, 1]):
        parts = batches.by_size(np.array(chosen))
        assert sorted(np.concatenate(parts).tolist()) == sorted(chosen)
        for part in parts:
            assert (logits_of(model, batches.collate(part)) - alone[part]).abs().max() < 1e-6


@pytest.mark.parametrize("family", FAMILIES)
def test_inputs_are_those_that_the_plain_extractor_makes(models, family):
    task = task_of(models[family])
    batch = batches_of(task, values((0.3,))).collate(np.array([0]))
    extractor = hf.AutoFeatureExtractor.from_pretrained(models[family])
    plain = extractor(noise(0.3), sampling_rate=16_000, return_tensors="pt")
    assert torch.equal(batch["input_values"], plain["input_values"])


def test_only_equal_lengths_are_stacked_where_filters_are_normalised_over_a_sound(models):
    parts = {
        family: batches_of(task_of(models[family]), values()).by_size(np.arange(4))
        for family in ("wav2vec2", "wav2vec2-layer", "ast")
    }
    assert [part.tolist() for part in parts["wav2vec2"]] == [[0, 2], [3], [1]]
    assert [part.tolist() for part in parts["wav2vec2-layer"]] == [[0, 2, 3, 1]]
    assert len(parts["ast"]) == 1


def test_frames_are_counted_as_the_encoder_makes_them(models):
    task = task_of(models["wav2vec2"])
    batches, model = batches_of(task, values()), task.build_model()
    for row, size in enumerate(batches.sizes):
        frames = model.wav2vec2(batches.collate(np.array([row]))["input_values"]).last_hidden_state
        assert frames.shape[1] == size


@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "wavlm"])
def test_frozen_layers_give_the_same_in_training_as_in_use(models, family):
    plain = hf.AutoModelForAudioClassification.from_pretrained(models[family], apply_spec_augment=True)
    assert plain.config.layerdrop == 0.5
    assert plain.config.mask_time_prob == 0.4
    seen = []
    encoder = getattr(plain, plain.base_model_prefix).encoder
    encoder.layers[1].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    sound = torch.from_numpy(noise(0.5))[None]
    freeze(plain, "last:1")
    plain.train()
    for _ in range(4):
        plain(sound)
    plain.eval()(sound)
    assert len(seen) == 5  # LayerDrop would leave it out in half of all passes
    assert all(torch.equal(one, seen[-1]) for one in seen)
    freeze(plain, "all")
    plain.train()
    assert encoder.training  # nothing is frozen, and LayerDrop is on


def test_no_seed_decides_spec_augment_so_it_is_off(models):
    assert task_of(models["wav2vec2"]).build_model().config.apply_spec_augment is False


def test_what_was_done_to_sounds_is_said(models):
    task = task_of(models["wav2vec2"], max_length_seconds=0.4)
    sounds = values((0.3, 0.5), rate=8000)
    sounds.append({"bytes": encode_samples(np.stack([noise(0.2), noise(0.2)]), 16_000), "path": None})
    sounds.append({"bytes": encode_samples(np.zeros(8000), 44_100), "path": None})
    batches = batches_of(task, sounds)
    assert list(task.encoded_notes(batches.encoded)) == [
        "2 sounds resampled from 8,000 Hz to the model's 16,000 Hz: nothing lies above 4,000 Hz.",
        "1 sound resampled from 44,100 Hz to the model's 16,000 Hz.",
        "1 sound of several channels: their mean was taken.",
        "1 sound without a sound in them (all samples are equal) kept.",
        "1 of 4 sounds were longer than is read and were cut: 0.1 seconds in all.",
    ]
    assert batches.collate(np.array([1]))["input_values"].shape == (1, 6400)


def test_a_spectrogram_of_fixed_size_counts_what_it_cuts(models):
    task = task_of(models["ast"])  # 32 frames of 10 ms
    encoded = batches_of(task, values((0.3, 1.0))).encoded
    assert [cut > 0 for cut in encoded["cut"]] == [False, True]
    (note, *_) = task.encoded_notes(encoded)
    assert note.startswith("1 of 2 sounds were longer than is read")


def test_a_sound_shorter_than_one_frame_is_read(models):
    task = task_of(models["wav2vec2"])
    batches = batches_of(task, values((0.005,)))
    assert batches.sizes.tolist() == [1]
    assert torch.isfinite(logits_of(task.build_model(), batches.collate(np.array([0])))).all()


def test_a_model_of_pictures_is_refused():
    with pytest.raises(ModelError, match=r"is a model of pictures|says no sampling rate"):
        _ = task_of("builtin:digits-resnet").processor


def test_whisper_is_taken_as_a_classifier_and_refused_without_its_projector(tmp_path):
    config = hf.WhisperConfig(
        vocab_size=60, num_mel_bins=16, d_model=16, encoder_layers=2, decoder_layers=1, encoder_ffn_dim=16,
        encoder_attention_heads=2, decoder_attention_heads=2, decoder_ffn_dim=16, max_source_positions=50,
        classifier_proj_size=8, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    for kind in (hf.WhisperModel, hf.WhisperForAudioClassification):
        kind(config).save_pretrained(tmp_path / kind.__name__)
        hf.WhisperFeatureExtractor(feature_size=16, chunk_length=1).save_pretrained(tmp_path / kind.__name__)
    with pytest.raises(ModelError, match=r"lacks 2 weights .*projector.* it was saved without them"):
        task_of(str(tmp_path / "WhisperModel")).build_model()
    task = task_of(str(tmp_path / "WhisperForAudioClassification"))
    model = task.build_model().eval()
    batch = batches_of(task, values()).collate(np.arange(4))
    assert batch["input_features"].shape == (4, 16, 100)
    assert model(input_features=batch["input_features"]).logits.shape == (4, 2)


def test_speakers_stay_together_unless_something_else_is_asked():
    data = label_rows(tones(), RunConfig(), "audio")
    assert data.grouped_by == "speaker"
    assert set(data.rows["group"]) == {f"voice {number}" for number in range(6)}
    assert any(note.startswith("Rows of one 'speaker' stay together in a fold.") for note in data.notes)
    for settings in ({"scheme": "stratified"}, {"scheme": "random"}, {"fold_column": "sampling_rate"}):
        assert "group" not in label_rows(tones(), RunConfig(**settings), "audio").rows.column_names
    other = label_rows(tones(), RunConfig(group_by="label", label_column="label"), "audio")
    assert other.grouped_by == "label"


def test_unreadable_sounds_stop_a_run_or_are_left_out():
    rows = Dataset.from_dict({
        "audio": [*values((0.3, 0.3)), {"bytes": b"none", "path": "clips/bad.wav"}], "label": ["a", "b", "a"],
    })  # fmt: skip
    with pytest.raises(DataError, match=r"1 sound of 3 cannot be read:\n  clips/bad.wav: not a WAV file"):
        label_rows(rows, RunConfig(), "audio")
    data = label_rows(rows, RunConfig(on_bad_image="skip"), "audio")
    assert len(data.rows) == 2
    assert "1 sound of 3 cannot be read, so left out: clips/bad.wav." in data.notes
