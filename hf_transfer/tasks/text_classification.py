"""Text classification: one label a text, e.g. its sentiment."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hf_transfer.config import Kind
from hf_transfer.tasks.base import Classification, label_column

if TYPE_CHECKING:
    from torch import Tensor, nn


class SequenceClassification(Classification):
    """Label each text; what exceeds the model's length is cut and counted.

    Args:
        settings: Of which the base model, its control arms and `max_length` are used.
        label_names: In the order of their ids.
    """

    name: ClassVar[str] = "text-classification"
    kind: ClassVar[Kind] = "text"

    @cached_property
    def tokenizer(self) -> Any:
        """The base model's tokenizer and how many tokens fit."""
        from hf_transfer.tokens import Tokenizer

        return Tokenizer(self.base, self.settings.max_length)

    def build_model(self) -> "nn.Module":
        """A fresh encoder with a new classifier."""
        from transformers import AutoModelForSequenceClassification

        from hf_transfer.models import build_model

        return build_model(self.base, AutoModelForSequenceClassification, self.label_names, self.settings)

    def encode(self, rows: Mapping[str, list[Any]], positions: Sequence[int]) -> dict[str, list[Any]]:
        """Tokenize a batch of texts, without padding."""
        encoded, cut = self.tokenizer.texts(rows["input"])
        return dict(encoded) | {
            "row": list(positions),
            "size": [len(ids) for ids in encoded["input_ids"]],
            "cut": cut,
            "labels": label_column(rows, 0),
        }

    def collate(self, encoded: Sequence[Mapping[str, Any]]) -> "dict[str, Tensor]":
        """Pad to the longest of the batch, (b, l); labels (b,)."""
        import torch

        batch = self.tokenizer.pad(encoded)
        batch["labels"] = torch.tensor([row["labels"] for row in encoded])
        return batch  # type: ignore[no-any-return]

    def save_processor(self, folder: Path) -> None:
        """Write the tokenizer with its true length limit."""
        self.tokenizer.save(folder)
