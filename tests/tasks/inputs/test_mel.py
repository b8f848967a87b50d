import numpy as np
import pytest
from datasets import Dataset
from sound_models import noise, tones

from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.rows import label_rows
from hf_transfer.tasks import task_of_kind
from hf_transfer.tasks.inputs.mel import log_mel, sound_features, sound_probe, sound_thumbnail
from hf_transfer.tasks.inputs.sounds import Sound, encode_samples

AUDIO = task_of_kind("audio").input


def tone(hertz, rate=16_000, seconds=0.5):
    samples = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return Sound(samples.astype(np.float32)[:, None], rate)


def test_a_higher_tone_lies_in_a_higher_band_at_any_rate():
    bands = [int(log_mel(tone(hertz)).mean(axis=0).argmax()) for hertz in (200, 800, 2000, 5000)]
    assert bands == sorted(set(bands))
    assert bands[:2] == [int(log_mel(tone(hertz, rate=44_100)).mean(axis=0).argmax()) for hertz in (200, 800)]


def test_every_band_holds_something():
    for rate in (8000, 16_000):
        quiet = log_mel(Sound(noise(0.3)[:, None], 16_000), rate, bands=64)
        assert (quiet.mean(axis=0) > np.log(1e-9)).all()


@pytest.mark.parametrize("samples", [np.zeros(8000), np.zeros(10), noise(0.02)])
def test_short_and_silent_sounds_have_features(samples):
    rows = Dataset.from_dict({"input": [{"bytes": encode_samples(samples, 8000), "path": None}]})
    assert np.isfinite(sound_features(rows)).all()


def test_features_do_not_hear_the_volume():
    loud, quiet = ({"bytes": encode_samples(noise(0.5) * by, 16_000), "path": None} for by in (1, 0.1))
    one, other = sound_features(Dataset.from_dict({"input": [loud, quiet]}))
    assert np.abs(one - other).max() < 1e-3


def test_the_simple_model_tells_rising_tones_from_falling_ones():
    data = label_rows(tones(num_rows=120), RunConfig(), "audio")
    labels, rows = np.array(data.rows["label"][:]), np.arange(120)
    probe = sound_probe(data.rows, labels, [(rows[:60], rows[60:])])
    assert (probe.decisions[0].argmax(axis=1) == labels[60:]).mean() > 0.9


def test_thumbnails_know_a_sound_at_another_volume_and_rate_again():
    made = noise(0.5)
    same = [Sound(made[:, None], 16_000), Sound(made[:, None] * 0.5, 16_000)]
    others = [tone(300), Sound(np.zeros((8000, 1), np.float32), 16_000)]
    small = np.stack([sound_thumbnail(sound) for sound in (*same, *others)])
    likeness = small @ small.T
    assert likeness[0, 1] > 0.99
    assert likeness[0, 2] < 0.99
    assert likeness[3, 3] == 0


def test_a_report_shows_a_spectrogram_and_plays_the_sound():
    shown = AUDIO.original({"bytes": encode_samples(noise(12, rate=8000), 8000), "path": "/x/dog.wav"})
    assert shown.picture.startswith("data:image/png;base64,")
    assert shown.sound.startswith("data:audio/wav;base64,")
    assert len(shown.sound) == pytest.approx(10 * 8000 * 2 * 4 / 3, rel=0.01)
    assert shown.name == "dog.wav"
    assert AUDIO.original({"bytes": b"none", "path": None}).picture is None


def test_lengths_are_in_seconds():
    rows = Dataset.from_dict(
        {"input": [{"bytes": encode_samples(noise(s), 16_000), "path": None} for s in (0.5, 1, 1.5)]}
    )
    assert AUDIO.lengths(rows)["median"] == 1
    assert AUDIO.excerpt(rows[0]["input"], 60) == "a sound in memory"
