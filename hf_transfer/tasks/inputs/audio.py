"""Sounds as inputs: encoded bytes or paths, decoded when they are used."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError
from hf_transfer.tasks.inputs.input import BadInput, Input, Likeness, Original, SimpleProbe, Visit

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import nn

    from hf_transfer.tasks.inputs.pooling import Pooling
    from hf_transfer.tasks.inputs.sounds import Sound

_PICTURE = (320, 96)  # of a spectrogram in a report, in pixels
_LONGEST_PLAYED = 10.0  # seconds of a sound in a report
_PLAYED_AT = 16_000


class Audio(Input):
    """A sound a row, as {"bytes", "path"}."""

    name: ClassVar[str] = "audio"
    noun: ClassVar[str] = "sound"
    nouns: ClassVar[str] = "sounds"
    columns: ClassVar[tuple[str, ...]] = (
        "audio", "sound", "speech", "waveform", "recording", "array", "audio_path", "wav", "file_name",
        "filename", "filepath", "path", "file", "clip",
    )  # fmt: skip
    groups: ClassVar[tuple[str, ...]] = ("speaker", "speaker_id", "client_id", *Input.groups)
    settings: ClassVar[tuple[str, ...]] = ("max_length_seconds", "on_bad_image")
    encoded_by: ClassVar[tuple[str, ...]] = ("max_length_seconds",)
    measured_in: ClassVar[str] = "Seconds a row"
    suffixes: ClassVar[frozenset[str]] = frozenset({
        ".aac", ".aif", ".aiff", ".flac", ".m4a", ".mp3", ".npy", ".npz", ".oga", ".ogg", ".opus", ".wav",
        ".wave",
    })  # fmt: skip
    rows_at_once: ClassVar[int] = 32  # as sounds are large
    sample_model: ClassVar[str] = "tiny-wav2vec2"
    simple_model: ClassVar[str] = "20 log-mel bands of each third of the sound, linear"

    def is_typed(self, feature: Any) -> bool:
        """Whether it is of the type of sounds."""
        from datasets import Audio as Sounds

        return isinstance(feature, Sounds)

    def leads_away(self, feature: Any) -> bool:
        """Whether it holds texts."""
        return getattr(feature, "dtype", None) == "string"

    def read(
        self, dataset: "Dataset", column: str, *, folder: Path | None, outside: bool = False
    ) -> "Dataset":
        """Sounds, their encoded bytes, paths, or arrays with a sampling rate; none is decoded."""
        from hf_transfer.tasks.inputs.sound_column import read_sounds

        return read_sounds(dataset, column, folder, outside=outside)

    def unreadable(self, rows: "Dataset", visit: Visit | None = None) -> list[BadInput]:
        """Those that can't be decoded, or hold no samples."""
        from hf_transfer.tasks.inputs.sounds import scan_sounds

        return scan_sounds(rows, visit and (lambda row, sound: visit(row, _digest(sound))))

    def content(self, value: Any) -> list[str | bytes]:
        """The encoded bytes."""
        from hf_transfer.tasks.inputs.sounds import sound_bytes

        return [sound_bytes(value)]

    def likeness(self, parts: "Sequence[Dataset]") -> Likeness:
        """A digest of the samples, and groups by small spectrograms; every sound is decoded for it."""
        import numpy as np

        from hf_transfer.tasks.inputs.mel import sound_thumbnail
        from hf_transfer.tasks.inputs.similarity import similar_pictures
        from hf_transfer.tasks.inputs.sounds import read_sound

        keys: list[Any] = []
        small = []
        for value in (row["input"] for part in parts for row in part.select_columns(["input"])):
            sound = read_sound(value)
            keys.append(_digest(sound))
            small.append(sound_thumbnail(sound))
        return keys, lambda firsts: similar_pictures(np.array(small)[firsts])

    def lengths(self, rows: "Dataset") -> dict[str, float] | None:
        """In seconds."""
        from hf_transfer.tasks.inputs.sounds import read_sound
        from hf_transfer.tasks.inputs.text_column import lengths

        found = [read_sound(row["input"]).seconds for row in rows.select_columns(["input"])]
        return {name: round(value, 3) for name, value in lengths(found).items()}

    def excerpt(self, value: Any, length: int) -> str:
        """The end of its path."""
        return "/".join(Path(value["path"]).parts[-2:]) if value["path"] else "a sound in memory"

    def original(self, value: Any) -> Original:
        """A spectrogram, and its first ten seconds to listen to; none of a sound that can't be read."""
        from hf_transfer.tasks.inputs.mel import spectrogram
        from hf_transfer.tasks.inputs.sounds import encode_samples, read_sound, resampled

        try:
            sound = read_sound(value)
        except DataError:
            return Original()
        rate = min(sound.rate, _PLAYED_AT)
        samples = resampled(sound.mono, sound.rate, rate)[: round(_LONGEST_PLAYED * rate)]
        played = (samples.clip(-1, 1) * 32767).astype("int16")
        return Original(
            picture=_data_uri("image/png", spectrogram(sound, _PICTURE)),
            sound=_data_uri("audio/wav", encode_samples(played, rate)),
            name=Path(value["path"]).name if value.get("path") else None,
        )

    def pooling(self, model: "nn.Module") -> "Pooling":
        """The mean over time; of a spectrogram's patches the first token and the mean."""
        from hf_transfer.tasks.inputs.pooling import SoundPooling

        return SoundPooling(model)

    @property
    def simple_probe(self) -> SimpleProbe:
        """A linear model of log-mel bands."""
        from hf_transfer.tasks.inputs.mel import sound_probe

        return sound_probe


def _digest(sound: "Sound") -> bytes:
    return hashlib.sha256(f"{sound.rate}".encode() + sound.samples.tobytes()).digest()


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
