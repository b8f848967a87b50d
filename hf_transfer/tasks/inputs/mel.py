"""Log-mel spectrograms by numpy alone: features of a simple model, thumbnails, and pictures of sounds."""

import io
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hf_transfer import _guard  # noqa: F401
from hf_transfer.scores.transferability import Probe, Split, ridge_probe
from hf_transfer.tasks.inputs.similarity import SIDE
from hf_transfer.tasks.inputs.sounds import Sound, read_sound, resampled

if TYPE_CHECKING:
    from datasets import Dataset

Floats = NDArray[np.float32]

MOST = 16_000  # samples a second that are looked at
BANDS = 20
_WINDOW, _HOP = 0.025, 0.010  # seconds, as is usual for speech
_PARTS = 3  # of a sound, whose bands are averaged each by itself
_HEARD = 8.0  # of logarithms below the loudest: 35 dB
_DRAWN = 64  # bands of a picture
_LEAST = 1e-10  # of a band's energy, whose logarithm is taken


def log_mel(sound: Sound, rate: int = MOST, bands: int = BANDS) -> Floats:
    """Logarithms of the energy in mel bands, (frames, bands), of the mean of the channels.

    Args:
        sound: Of any rate.
        rate: Samples a second to bring it to; the bands divide what lies below half of it.
        bands: How many.
    """
    size, step = round(_WINDOW * rate), round(_HOP * rate)
    samples = resampled(sound.mono, sound.rate, rate)
    samples = np.pad(samples, (0, max(0, size - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[::step]
    energy = np.abs(np.fft.rfft(frames * np.hanning(size), _points(rate))) ** 2
    return np.log(np.maximum(energy @ _filters(bands, rate).T, _LEAST)).astype(np.float32)


def sound_features(rows: "Dataset") -> Floats:
    """Log-mel bands of each third of a sound, less the sound's own level, and their deviations, (n, 80).

    All sounds are brought to the lowest rate among them, as bands that are empty in some tell only that.
    """
    sounds = rows.select_columns(["input"])
    rate = min([MOST, *(read_sound(row["input"]).rate for row in sounds)])
    return np.stack([_of_sound(log_mel(read_sound(row["input"]), rate)) for row in sounds])


def _of_sound(mel: Floats) -> Floats:
    parts = [part if len(part) else mel for part in np.array_split(mel, _PARTS)]
    return np.concatenate([*(part.mean(axis=0) - mel.mean() for part in parts), mel.std(axis=0)])


def sound_probe(
    rows: "Dataset", labels: NDArray[Any], splits: Sequence[Split], *, balanced: bool = False
) -> Probe:
    """Fit a linear model on `sound_features` in every fold; the arguments are those of `simple_probe`."""
    return ridge_probe(sound_features(rows), labels, splits, balanced=balanced)


def sound_thumbnail(sound: Sound) -> Floats:
    """Reduce a sound to 16 times and 16 bands of length 1, so that products are correlations.

    Only what is loud counts, and of each band how it moves in time: the rest is alike in all sounds of one
    microphone. What does not move gives zeros, which resemble nothing.
    """
    mel = Image.fromarray(log_mel(sound, bands=SIDE)).resize((SIDE, SIDE), Image.Resampling.BOX)
    values = np.asarray(mel, np.float32)
    values = np.maximum(values, values.max() - _HEARD)
    values = (values - values.mean(axis=0)).ravel()
    length = float(np.linalg.norm(values))
    return values / length if length > 1 else np.zeros_like(values)


def spectrogram(sound: Sound, size: tuple[int, int]) -> bytes:
    """Draw a sound as a PNG: time to the right, pitch upwards, louder is darker."""
    mel = log_mel(sound, bands=_DRAWN)[:, ::-1].T
    low, high = np.percentile(mel, [5, 99.5])
    greys = 255 - 255 * np.clip((mel - low) / max(high - low, 1e-6), 0, 1)
    stream = io.BytesIO()
    Image.fromarray(greys.astype(np.uint8)).resize(size, Image.Resampling.BILINEAR).save(stream, format="PNG")
    return stream.getvalue()


@cache
def _filters(bands: int, rate: int) -> Floats:
    """Triangles evenly spaced on the mel scale, (bands, bins)."""
    mels = np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), bands + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    bins = np.fft.rfftfreq(_points(rate), 1 / rate)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def _points(rate: int) -> int:
    """Points of the Fourier transform: a power of two, with which the lowest bands still hold some."""
    return 1 << max(9, round(_WINDOW * rate).bit_length())
