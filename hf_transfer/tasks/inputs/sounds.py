"""Read sounds safely: WAV by itself, other formats by soundfile or torchcodec where they are installed."""

import io
import struct
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from scipy.io import wavfile
from scipy.signal import resample_poly

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError
from hf_transfer.machine.progress import progress_bar
from hf_transfer.tasks.inputs.encoded import Encoded, encoded_bytes
from hf_transfer.tasks.inputs.input import BadInput

RATES = (1_000, 384_000)  # samples a second that a recording may have
_LOUDEST = 16.0  # of samples that should be from -1 to 1; more are whole numbers that were called floats
_NO_SAMPLES = "it holds no samples"
_BROKEN = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    OSError,
    OverflowError,
    MemoryError,
    struct.error,
)

Floats = NDArray[np.float32]
SoundLike = Encoded


@dataclass(frozen=True, eq=False)
class Sound:
    """Samples from -1 to 1, float32 (n, channels), and how many there are a second."""

    samples: Floats
    rate: int

    @property
    def mono(self) -> Floats:
        """The mean of the channels, (n,)."""
        return np.asarray(self.samples.mean(axis=1), np.float32)

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / self.rate

    @property
    def silent(self) -> bool:
        """Whether all samples are equal."""
        return bool((self.samples == self.samples[:1]).all())


def read_sound(sound: SoundLike) -> Sound:
    """Decode one sound; a WAV file gives the same samples whatever else is installed.

    Args:
        sound: Encoded bytes, a local path, or a row's input.

    Raises:
        DataError: If it is absent, damaged, empty, or of a format that nothing here reads. The message is the
            reason alone, as the caller knows the sound's name.
    """
    data = sound_bytes(sound)
    try:
        found = _decoded(data)
    except DataError:
        raise
    except _BROKEN as error:
        raise DataError(f"the file is damaged or cut short ({error})") from error
    return _checked(found)


def sound_bytes(sound: SoundLike) -> bytes:
    """Give the encoded bytes of a sound, as `encoded_bytes` does."""
    return encoded_bytes(sound, "sound")


def encode_samples(samples: Any, rate: int) -> bytes:
    """Write samples as a WAV file; equal samples give equal bytes on every machine.

    Args:
        samples: int16, or numbers from -1 to 1; (n,), (n, channels) or (channels, n).
        rate: Samples a second.

    Raises:
        DataError: If they are no such samples.
    """
    array = np.asarray(samples)
    if array.ndim == 2 and array.shape[0] < array.shape[1]:
        array = array.T
    if array.ndim not in (1, 2) or array.dtype.kind not in "iuf":
        raise DataError(f"samples of shape {array.shape} and type {array.dtype}; (n,) numbers are a sound")
    if array.dtype.kind in "iu":
        if array.size and not -32768 <= int(array.min()) <= int(array.max()) <= 32767:
            raise DataError(
                f"samples from {array.min()} to {array.max()}; whole numbers must be those of 16 bits"
            )
        array = array.astype(np.int16)
    stream = io.BytesIO()
    wavfile.write(stream, int(rate), array if array.dtype == np.int16 else array.astype(np.float32))
    return stream.getvalue()


def resampled(samples: Floats, rate: int, wanted: int) -> Floats:
    """Samples (n,) at another rate, by scipy's polyphase filter, which any user of the model has too."""
    return samples if rate == wanted else resample_poly(samples, wanted, rate).astype(np.float32)


def scan_sounds(rows: Dataset, visit: Callable[[int, Sound], None] | None = None) -> list[BadInput]:
    """Decode every sound of the `input` column once; give those that cannot be read.

    Args:
        rows: Rows with sounds in `input`.
        visit: Called with the position of each good one, and with the sound.
    """
    bad = []
    with progress_bar("Reading sounds", total=len(rows), unit="sound") as bar:
        for position, row in enumerate(rows.select_columns(["input"])):
            sound = row["input"] or {}
            try:
                found = read_sound(sound)
            except DataError as error:
                bad.append(BadInput(position, sound.get("path"), str(error)))
            else:
                if visit is not None:
                    visit(position, found)
            bar.update()
    return bad


def _decoded(data: bytes) -> Sound:
    if data[:6] == b"\x93NUMPY":
        raise DataError(
            "an .npy file does not say how many samples it has a second: save it by "
            "numpy.savez(file, array=…, sampling_rate=16000)"
        )
    if zipfile.is_zipfile(io.BytesIO(data)):
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            data = encode_samples(arrays["array"], int(arrays["sampling_rate"]))
    if data[:4] in (b"RIFF", b"RIFX", b"RF64") and (found := _wave(data)):
        return found
    return _by_soundfile(data) or _by_torchcodec(data) or _unknown(data)


def _wave(data: bytes) -> Sound | None:
    """A WAV file of plain numbers; None of a compressed one."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            rate, samples = wavfile.read(io.BytesIO(data))
        except ValueError as error:
            if "Unknown wave file format" in str(error):
                return None
            raise
    if any("EOF" in str(warning.message) for warning in told):
        raise DataError("the file is damaged or cut short (it ends before its samples do)")
    if not samples.size:
        raise DataError(_NO_SAMPLES)
    if samples.dtype.kind == "f":
        return Sound(_two(samples), rate)
    if samples.dtype == np.uint8:
        return Sound((_two(samples) - np.float32(128)) / np.float32(128), rate)
    return Sound(_two(samples) / np.float32(-float(np.iinfo(samples.dtype).min)), rate)


def _by_soundfile(data: bytes) -> Sound | None:
    try:
        import soundfile
    except (ImportError, OSError):  # the latter where libsndfile is missing
        return None
    try:
        samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except RuntimeError:  # of a format that it does not know
        return None
    return Sound(samples, rate)


def _by_torchcodec(data: bytes) -> Sound | None:
    try:
        from torchcodec.decoders import AudioDecoder
    except (ImportError, OSError, RuntimeError):  # the latter two where FFmpeg is missing
        return None
    try:
        found = AudioDecoder(data).get_all_samples()
    except RuntimeError:
        return None
    return Sound(found.data.numpy().T, int(found.sample_rate))


def _unknown(data: bytes) -> Sound:
    raise DataError(
        f"not a WAV file, nor another sound that can be read here (it starts with {data[:12]!r}); FLAC, MP3 "
        "and OGG need soundfile: pip install 'hf-transfer-kit[audio]'"
    )


def _two(samples: Any) -> Floats:
    return np.asarray(samples, np.float32).reshape(len(samples), -1)


def _checked(sound: Sound) -> Sound:
    """The sound, if it is one."""
    if not sound.samples.size:
        raise DataError(_NO_SAMPLES)
    if not RATES[0] <= sound.rate <= RATES[1]:
        raise DataError(f"{sound.rate:,} samples a second; from {RATES[0]:,} to {RATES[1]:,} are read")
    loudest = float(np.abs(sound.samples).max())
    if not np.isfinite(loudest):
        raise DataError("some samples are not finite numbers")
    if loudest > _LOUDEST:
        raise DataError(
            f"samples up to {loudest:g}, where -1 to 1 is full volume: divide them by 32768, or give whole "
            "numbers"
        )
    return sound
