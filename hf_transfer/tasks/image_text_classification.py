"""Classification of pictures with a text: a product and its title, a post and its caption."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hf_transfer.tasks.image_classification import ImageClassification
from hf_transfer.tasks.inputs.image_text import ImageText
from hf_transfer.tasks.inputs.image_text_table import ImageTextTable
from hf_transfer.tasks.inputs.input import Input

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hf_transfer.tasks.inputs.image_text_reader import ImageTextReader


class ImageTextClassification(ImageClassification):
    """Label each picture with its text, by a model that reads both, such as CLIP or SigLIP.

    Args:
        settings: Of which the base model, its control arms, `augmentation` and `max_length` are used.
        labels: What read them, or the names of classes.
    """

    name: ClassVar[str] = "image-text-classification"
    input: ClassVar[Input] = ImageText()
    beside_table: ClassVar[type[Any]] = ImageTextTable
    auto_class: ClassVar[str] = "AutoModelForZeroShotImageClassification"
    on_hub: ClassVar[bool] = False
    library = "safetensors"  # of the linear layer beside the towers

    @cached_property
    def reader(self) -> "ImageTextReader":
        """The base model's own tokenizer and image processor."""
        from hf_transfer.tasks.inputs.image_text_reader import ImageTextReader

        return ImageTextReader(self.base, self.settings.max_length, self.processor, self.input.table)

    def build_model(self) -> "nn.Module":
        """A fresh pair of towers with a new classifier."""
        from hf_transfer.models.building import build_model
        from hf_transfer.models.two_towers import TwoTowerClassifier

        kind, problem = TwoTowerClassifier.beside(len(self.lacking)), self.target.problem_type
        return build_model(self.base, kind, self.label_names, self.settings, problem_type=problem)

    def encode(self, rows: Mapping[str, list[Any]], positions: Sequence[int]) -> dict[str, list[Any]]:
        """Decode and resize pictures, and tokenize texts."""
        return self.reader.encode(rows["input"]) | {"row": list(positions), "labels": self.labels_of(rows)}

    def collate(self, encoded: Sequence[Mapping[str, Any]]) -> "dict[str, Tensor]":
        """Token ids (b, l), pixels as bytes, which is present, (b, 2), and any numbers of a table, (b, w)."""
        return super().collate(encoded) | self.reader.collate(encoded)

    def save_processor(self, folder: Path) -> None:
        """Write the tokenizer, the processor of pictures, and the columns of a table."""
        super().save_processor(folder)
        self.reader.save(folder)
