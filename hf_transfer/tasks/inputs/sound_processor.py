"""A base model's feature extractor for sounds, such that padding changes nothing that the model gives."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoFeatureExtractor

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ModelError
from hf_transfer.models.base_model import BaseModel
from hf_transfer.tasks.inputs.sounds import resampled

# Families in which a mask hides padding from all layers, where their filters are normalised frame by frame.
_MASK_HIDES = frozenset({"hubert", "unispeech", "unispeech-sat", "wav2vec2"})


class SoundProcessor:
    """Turns samples into the model's inputs, one row at a time, and stacks rows.

    Args:
        base: The base model.

    Raises:
        ModelError: If the model has no feature extractor for sounds.
    """

    def __init__(self, base: BaseModel) -> None:
        self.config = base.config
        self.extractor = base.load(AutoFeatureExtractor)
        if not getattr(self.extractor, "sampling_rate", None):
            raise ModelError(
                f"base_model={base.name!r} comes with {type(self.extractor).__name__}, which says no "
                "sampling rate: it is no model of sounds. Take wav2vec2, HuBERT, WavLM or AST, say."
            )
        self.rate = int(self.extractor.sampling_rate)
        self.name = str(self.extractor.model_input_names[0])

    @cached_property
    def fixed(self) -> bool:
        """Whether all sounds become inputs of one size, as spectrograms of a fixed number of frames."""
        short, long = (self._extracted(np.zeros(self.rate // n, np.float32)) for n in (2, 1))
        return short.shape == long.shape

    @property
    def pads(self) -> bool:
        """Whether sounds of unequal length can be stacked: a mask hides the padding from every layer.

        Where filters are normalised over a whole sound (`feat_extract_norm="group"`, as in wav2vec2-base),
        padding changes all frames, and the model was made to be used without a mask.
        """
        normed = getattr(self.config, "feat_extract_norm", "group")
        return self.fixed or (normed == "layer" and self.config.model_type in _MASK_HIDES)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Shape of a row's input; -1 stands for its length."""
        shape = self._extracted(np.zeros(self.rate, np.float32)).shape
        return shape if self.fixed else (-1, *shape[1:])

    @cached_property
    def most_samples(self) -> int | None:
        """Samples that fit into a spectrogram of a fixed number of frames; None without such a limit."""
        if not self.fixed:
            return None
        if samples := getattr(self.extractor, "n_samples", None):  # Whisper's
            return int(samples)
        frames = int(getattr(self.extractor, "max_length", 0))
        return round(((frames - 1) * 0.010 + 0.025) * self.rate) if frames else None  # AST's, as Kaldi's

    def encode(self, samples: NDArray[np.float32], rate: int, seconds: float | None) -> tuple[Any, int]:
        """Resample and extract one sound; give the input, and how many samples were cut off its end.

        Args:
            samples: (n,).
            rate: Of the sound.
            seconds: Most seconds to read.
        """
        own = resampled(samples, rate, self.rate)
        limits = [self.most_samples, None if seconds is None else max(1, round(seconds * self.rate))]
        most = min([len(own), *(limit for limit in limits if limit)])
        extracted = self._extracted(own[:most])
        lacking = 0 if self.fixed or extracted.ndim > 1 else self._fewest - len(extracted)
        if lacking > 0:  # shorter than one frame
            extracted = np.pad(extracted, (0, lacking))
        return extracted, len(own) - most

    def frames(self, length: int) -> int:
        """Frames that an encoder of waveforms makes of so many samples; the length itself for others."""
        for kernel, stride in self._filters:
            length = (length - kernel) // stride + 1
        return length

    def stack(self, inputs: Sequence[bytes]) -> dict[str, Tensor]:
        """Stack inputs, zero-padded to the longest (b, l); with a mask where that is what hides padding."""
        rows = [np.frombuffer(one, np.float32).reshape(self.shape) for one in inputs]
        if self.fixed or not self.pads:
            return {self.name: torch.from_numpy(np.stack(rows))}
        sizes = np.array([len(row) for row in rows])
        values = np.zeros((len(rows), sizes.max()), np.float32)
        inside = np.arange(sizes.max()) < sizes[:, None]
        values[inside] = np.concatenate(rows)
        return {self.name: torch.from_numpy(values), "attention_mask": torch.from_numpy(inside).long()}

    def save(self, folder: Path) -> None:
        """Write preprocessor_config.json."""
        self.extractor.save_pretrained(folder)

    def _extracted(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        found = self.extractor(samples, sampling_rate=self.rate, return_tensors="np")
        return np.asarray(found[self.name][0], np.float32)

    @property
    def _filters(self) -> list[tuple[int, int]]:
        if self.name != "input_values" or self.fixed:
            return []
        kernels, strides = (getattr(self.config, name, ()) for name in ("conv_kernel", "conv_stride"))
        return list(zip(kernels, strides, strict=True))

    @cached_property
    def _fewest(self) -> int:
        """Samples of one frame."""
        samples = 1
        for kernel, stride in reversed(self._filters):
            samples = (samples - 1) * stride + kernel
        return samples
