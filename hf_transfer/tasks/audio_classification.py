"""Audio classification: one label a sound, with wav2vec2, HuBERT, WavLM, AST and their kin."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hf_transfer.tasks.inputs.audio import Audio
from hf_transfer.tasks.inputs.input import Input
from hf_transfer.tasks.targets.classes import Classes
from hf_transfer.tasks.targets.label_sets import LabelSets
from hf_transfer.tasks.targets.numbers import Numbers
from hf_transfer.tasks.task import CommonTask

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor, nn


class AudioClassification(CommonTask):
    """Label each sound; it is decoded, made mono, resampled and normalised once.

    Args:
        settings: Of which the base model, its control arms and `max_length_seconds` are used.
        labels: What read them, or the names of classes.
    """

    name: ClassVar[str] = "audio-classification"
    input: ClassVar[Input] = Audio()
    targets = (Classes, LabelSets, Numbers)
    label_columns: ClassVar[tuple[str, ...]] = (
        "label", "labels", "class", "category", "target", "keyword", "command", "emotion", "intent_class",
        "intent", "event", "y", "score", "rating",
    )  # fmt: skip
    auto_class: ClassVar[str] = "AutoModelForAudioClassification"

    @cached_property
    def processor(self) -> Any:
        """The base model's own feature extractor."""
        from hf_transfer.tasks.inputs.sound_processor import SoundProcessor

        return SoundProcessor(self.base)

    def build_model(self) -> "nn.Module":
        """A fresh encoder with a new classifier, without SpecAugment, whose draws no seed decides."""
        from hf_transfer.models.building import build_model
        from hf_transfer.models.sound_classifier import SoundClassifier

        configured: dict[str, Any] = {"problem_type": self.target.problem_type}
        if hasattr(self.base.config, "apply_spec_augment"):
            configured["apply_spec_augment"] = False
        return build_model(self.base, SoundClassifier, self.label_names, self.settings, **configured)

    def encode(self, rows: Mapping[str, list[Any]], positions: Sequence[int]) -> dict[str, list[Any]]:
        """Decode, make mono, resample and extract; inputs are kept as bytes of float32."""
        from hf_transfer.tasks.inputs.sound_encoding import encode_sounds

        encoded = encode_sounds(self.processor, rows["input"], self.settings.max_length_seconds)
        return encoded | {"row": list(positions), "labels": self.labels_of(rows)}

    def encoded_notes(self, encoded: "Dataset") -> Sequence[str]:
        """What was resampled, mixed and cut."""
        from hf_transfer.tasks.inputs.sound_encoding import sound_notes

        return sound_notes(encoded, self.processor.rate)

    def collate(self, encoded: Sequence[Mapping[str, Any]]) -> "dict[str, Tensor]":
        """Stack inputs, float32 (b, …); labels (b, …)."""
        import torch

        batch = self.processor.stack([row["sound"] for row in encoded])
        batch["labels"] = torch.tensor([row["labels"] for row in encoded])
        return batch  # type: ignore[no-any-return]

    def save_processor(self, folder: Path) -> None:
        """Write the feature extractor."""
        self.processor.save(folder)
