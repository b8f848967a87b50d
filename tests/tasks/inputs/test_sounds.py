"""Sounds of each storage are read alike, or are said to be unreadable."""

import io
import struct
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from datasets import Audio, Dataset, Features, List, Value
from scipy.io import wavfile
from sound_models import noise

from hf_transfer.errors import DataError
from hf_transfer.tasks import task_of_kind
from hf_transfer.tasks.inputs.sounds import encode_samples, read_sound, resampled, scan_sounds

WHOLE = np.array([0, 16384, -32768, 32767] * 300, np.int16)
WAVE = encode_samples(WHOLE, 8000)


def column(values, feature=None, **others):
    features = Features({"x": feature} | {name: Value("int32") for name in others}) if feature else None
    return Dataset.from_dict({"x": values, **others}, features)


def inputs(dataset, folder=None):
    return task_of_kind("audio").input.read(dataset, "x", folder=folder)["input"][:]


def stored(dataset):
    """A dataset as Parquet has it, whose feature of sounds needs no decoder to be made."""
    return Dataset(dataset.cast(Features({"x": {"bytes": Value("binary"), "path": Value("string")}})).data)


@pytest.mark.parametrize(
    "dataset",
    [
        column([{"bytes": WAVE, "path": "a.wav"}]),
        column([WAVE], Value("binary")),
        column([WAVE], Value("large_binary")),
        column([WHOLE.tolist()], List(Value("int16")), sampling_rate=[8000]),
        column([WHOLE.tolist()], List(Value("int32")), SR=[8000]),
        column([(WHOLE / 32768).tolist()], List(Value("float32")), sample_rate=[8000]),
        column([{"array": WHOLE.tolist(), "sampling_rate": 8000, "path": None}]),
        column([{"array": [WHOLE.tolist()], "sampling_rate": 8000}]),
    ],
)
def test_sounds_of_each_storage_are_the_same(dataset):
    sound = read_sound(inputs(dataset)[0])
    assert sound.rate == 8000
    assert np.array_equal(sound.mono, (WHOLE / 32768).astype(np.float32))
    assert sound.seconds == pytest.approx(0.15)


def test_a_column_of_the_type_of_sounds_needs_no_decoder():
    rows = column([{"bytes": WAVE, "path": None}])
    typed = rows.cast(Features({"x": Audio(decode=False)}))
    assert task_of_kind("audio").input.is_typed(typed.features["x"])
    assert inputs(typed) == [{"bytes": WAVE, "path": None}]


def test_paths_are_read_from_their_folder_and_stay_in_it(tmp_path):
    (tmp_path / "a.wav").write_bytes(WAVE)
    found = inputs(column(["a.wav", None]), tmp_path)
    assert read_sound(found[0]).rate == 8000
    assert found[1] is None
    with pytest.raises(DataError, match=r"'\.\./a\.wav' leaves the folder"):
        inputs(column(["../a.wav"]), tmp_path)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (
            column([1.5]),
            "Column 'x' holds float64, not sounds. Allowed are sounds, their encoded",
        ),
        (
            column([[1, 2]]),
            "no column says how many samples they have a second. Add one called",
        ),
        (
            column([[1, 70000]], sampling_rate=[8000]),
            r"Row 0: samples from 1 to 70000; whole numbers must",
        ),
        (
            column([[["a"]]], sampling_rate=[8000]),
            r"Row 0: samples of shape \(1, 1\) and type <U1; \(n,\) numbers",
        ),
    ],
)
def test_what_is_no_sound_is_refused(dataset, message):
    with pytest.raises(DataError, match=message):
        inputs(dataset)


def written(samples, rate=8000):
    stream = io.BytesIO()
    wavfile.write(stream, rate, samples)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.array([0, 128, 255], np.uint8), [-1, 0, 127 / 128]),
        (np.array([-(2**31), 2**30], np.int32), [-1, 0.5]),
        (np.array([-1, 0.25], np.float64), [-1, 0.25]),
    ],
)
def test_a_wav_file_of_each_width_is_from_minus_one_to_one(samples, expected):
    assert read_sound(written(samples)).mono.tolist() == expected


def test_stereo_becomes_the_mean_of_its_channels():
    left, right = noise(0.1), noise(0.1, seed=1)
    sound = read_sound(encode_samples(np.stack([left, right]), 16_000))
    assert sound.samples.shape == (1600, 2)
    assert np.array_equal(sound.mono, (left + right) / 2)


def test_an_npz_file_holds_its_rate_and_an_npy_file_does_not(tmp_path):
    np.savez(tmp_path / "a.npz", array=WHOLE, sampling_rate=8000)
    np.save(tmp_path / "a.npy", WHOLE)
    assert np.array_equal(read_sound(tmp_path / "a.npz").samples, read_sound(WAVE).samples)
    with pytest.raises(DataError, match=r"does not say how many samples .* numpy\.savez"):
        read_sound(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the row holds no sound"),
        (WAVE[:200], "damaged or cut short"),
        (WAVE[:30], "damaged or cut short"),
        (written(WHOLE[:0]), "^it holds no samples"),
        (written(np.zeros((0, 2), np.int16)), "^it holds no samples"),
        (written(np.array([0, np.nan], np.float32)), "not finite"),
        (written(np.array([0, np.inf], np.float32)), "not finite"),
        (written(np.array([0, -np.inf], np.float32)), "not finite"),
        (written(np.array([0, 2e4], np.float32)), "samples up to 20000, where -1 to 1 is full volume"),
        (written(WHOLE, rate=10), "10 samples a second; from 1,000 to 384,000"),
        (b"fLaC but no more of it", "not a WAV file, .* FLAC, MP3 and OGG need soundfile: pip install"),
        (b"PK\x03\x04 and so on", "not a WAV file"),
    ],
)
def test_what_cannot_be_read_says_why(data, message, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    with pytest.raises(DataError, match=message):
        read_sound(data)


def test_other_formats_go_to_what_is_installed(monkeypatch):
    made = np.ones((3, 2), np.float32)

    def refuse(*_, **__):
        raise RuntimeError("unknown format")

    class Decoder:
        def __init__(self, data):
            assert data == b"OggS"

        def get_all_samples(self):
            return SimpleNamespace(data=SimpleNamespace(numpy=lambda: made.T / 2), sample_rate=48_000.0)

    monkeypatch.setitem(sys.modules, "torchcodec.decoders", SimpleNamespace(AudioDecoder=Decoder))
    monkeypatch.setitem(sys.modules, "soundfile", SimpleNamespace(read=lambda *_, **__: (made, 44_100)))
    assert read_sound(b"OggS").rate == 44_100
    monkeypatch.setitem(sys.modules, "soundfile", SimpleNamespace(read=refuse))
    assert read_sound(b"OggS").rate == 48_000
    assert np.array_equal(read_sound(b"OggS").samples, made / 2)


def test_a_compressed_wav_file_is_left_to_soundfile(monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 40, b"WAVE", b"fmt ", 16, 7, 1, 8000, 8000, 1, 8, b"data", 4
    )
    with pytest.raises(DataError, match="not a WAV file, nor another sound"):
        read_sound(head + b"\x00" * 4)


def test_the_scan_names_what_is_unreadable(tmp_path):
    (tmp_path / "b.wav").write_bytes(b"none")
    values = [{"bytes": WAVE, "path": None}, {"bytes": None, "path": str(tmp_path / "b.wav")}, None]
    bad = scan_sounds(Dataset.from_dict({"input": values}))
    assert [one.position for one in bad] == [1, 2]
    assert bad[0].path == str(tmp_path / "b.wav")
    assert bad[1].reason == "the row holds no sound"


def test_resampling_keeps_a_tone_and_the_same_rate_keeps_all_bits():
    times = np.arange(8000) / 8000
    tone = np.sin(2 * np.pi * 440 * times).astype(np.float32)
    up = resampled(tone, 8000, 16_000)
    assert up.dtype == np.float32
    assert np.abs(np.fft.rfft(up)).argmax() == 440
    assert np.abs(np.fft.rfft(up))[4200:].max() < 1e-2 * np.abs(np.fft.rfft(up)).max()
    assert resampled(tone, 8000, 8000) is tone
