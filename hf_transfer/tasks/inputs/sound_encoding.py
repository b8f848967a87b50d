"""Encode sounds for a model, and say what was resampled, mixed and cut."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.wording import count
from hf_transfer.tasks.inputs.sounds import read_sound

if TYPE_CHECKING:
    from datasets import Dataset

    from hf_transfer.tasks.inputs.sound_processor import SoundProcessor


def encode_sounds(
    processor: "SoundProcessor", sounds: Sequence[Any], seconds: float | None
) -> dict[str, list[Any]]:
    """Columns of encoded rows: the model's input as bytes, its size, and what was done to the sound.

    Args:
        processor: The model's.
        sounds: Rows' inputs.
        seconds: Most seconds to read of each.
    """
    found: list[dict[str, Any]] = []
    for sound in map(read_sound, sounds):
        extracted, cut = processor.encode(sound.mono, sound.rate, seconds)
        row = {
            "sound": np.ascontiguousarray(extracted).tobytes(),
            "size": 0 if processor.fixed else processor.frames(len(extracted)),
            "cut": cut,
            "rate": sound.rate,
            "channels": sound.samples.shape[1],
            "silent": sound.silent,
        }
        # Only rows of this very number are stacked, where padding would change what comes out.
        found.append(row if processor.pads else row | {"alike": len(extracted)})
    return {name: [row[name] for row in found] for name in (found[0] if found else ())}


def sound_notes(encoded: "Dataset", rate: int) -> list[str]:
    """What was done to the sounds, a sentence each.

    Args:
        encoded: What `encode_sounds` made.
        rate: Of the model.
    """
    columns = {name: np.asarray(encoded[name][:]) for name in ("rate", "channels", "cut", "silent")}
    notes = [
        _resampled(own, number, rate) for own, number in sorted(Counter(columns["rate"].tolist()).items())
    ]
    if several := int((columns["channels"] > 1).sum()):
        notes.append(f"{count(several, 'sound')} of several channels: their mean was taken.")
    if silent := int(columns["silent"].sum()):
        notes.append(f"{count(silent, 'sound')} without a sound in them (all samples are equal) kept.")
    if cut := int((columns["cut"] > 0).sum()):
        lost = columns["cut"].sum() / rate
        notes.append(
            f"{cut:,} of {len(encoded):,} sounds were longer than is read and were cut: {lost:,.1f} "
            "seconds in all."
        )
    return [note for note in notes if note]


def _resampled(own: int, number: int, rate: int) -> str:
    if own == rate:
        return ""
    said = f"{count(number, 'sound')} resampled from {own:,} Hz to the model's {rate:,} Hz"
    return f"{said}: nothing lies above {own // 2:,} Hz." if own < rate else f"{said}."
