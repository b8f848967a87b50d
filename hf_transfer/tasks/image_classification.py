"""Image classification: one label a picture, with timm, ViT, ResNet and their kin."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hf_transfer.tasks.inputs.image import Image
from hf_transfer.tasks.inputs.input import Input
from hf_transfer.tasks.targets.classes import Classes
from hf_transfer.tasks.targets.grades import Grades
from hf_transfer.tasks.targets.label_sets import LabelSets
from hf_transfer.tasks.targets.numbers import Numbers
from hf_transfer.tasks.task import CommonTask

if TYPE_CHECKING:
    from torch import Tensor, nn


class ImageClassification(CommonTask):
    """Label each picture; it is decoded and resized once, and normalised when it is used.

    Args:
        settings: Of which the base model, its control arms and `augmentation` are used.
        labels: What read them, or the names of classes.
    """

    name: ClassVar[str] = "image-classification"
    input: ClassVar[Input] = Image()
    targets = (Classes, LabelSets, Numbers, Grades)
    label_columns: ClassVar[tuple[str, ...]] = (
        "label", "labels", "class", "target", "category", "class_name", "fine_label", "y", "score", "rating",
    )  # fmt: skip
    auto_class: ClassVar[str] = "AutoModelForImageClassification"

    @property
    def augments(self) -> bool:  # type: ignore[override]
        """Whether training pictures are flipped or shifted."""
        return self.settings.augmentation != "none"

    @cached_property
    def processor(self) -> Any:
        """The base model's own resizing and normalisation."""
        from hf_transfer.tasks.inputs.picture_processor import PictureProcessor

        return PictureProcessor(self.base)

    def build_model(self) -> "nn.Module":
        """A fresh backbone with a new classifier."""
        from transformers import AutoModelForImageClassification

        from hf_transfer.models.building import build_model

        return build_model(
            self.base,
            AutoModelForImageClassification,
            self.label_names,
            self.settings,
            problem_type=self.target.problem_type,
        )

    def encode(self, rows: Mapping[str, list[Any]], positions: Sequence[int]) -> dict[str, list[Any]]:
        """Decode and resize; pixels are kept as bytes, (3, h, w) each."""
        pixels = self.processor.read(rows["input"])
        return {
            "row": list(positions),
            "size": [0] * len(pixels),
            "pixels": [picture.numpy().tobytes() for picture in pixels],
            "labels": self.labels_of(rows),
        }

    def collate(self, encoded: Sequence[Mapping[str, Any]]) -> "dict[str, Tensor]":
        """Pixels as bytes, uint8 (b, 3, h, w): a quarter of what they are as numbers; labels (b, …)."""
        import torch

        return {
            "pixel_values": self.processor.from_bytes([row["pixels"] for row in encoded]),
            "labels": torch.tensor([row["labels"] for row in encoded]),
        }

    def transform(
        self, batch: "dict[str, Tensor]", seeds: Sequence[int] | None = None
    ) -> "dict[str, Tensor]":
        """Flip and shift when training, and normalise to float32."""
        from hf_transfer.tasks.inputs.picture_processor import augment

        pixels = batch["pixel_values"]
        if seeds is not None and self.augments:
            pixels = augment(pixels, self.settings.augmentation, seeds)
        return batch | {"pixel_values": self.processor.normalise(pixels)}

    def save_processor(self, folder: Path) -> None:
        """Write the processor; timm's stands in the model's config.json already."""
        self.processor.save(folder)
