"""A base model's tokenizer and image processor, for pictures with texts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hf_transfer import _guard  # noqa: F401
from hf_transfer.models.base_model import BaseModel
from hf_transfer.models.two_towers import reads_full_length
from hf_transfer.tasks.inputs.image_text import picture_of, text_of
from hf_transfer.tasks.inputs.picture_processor import PictureProcessor
from hf_transfer.tasks.inputs.table import Table
from hf_transfer.tasks.inputs.tokenizer import Tokenizer


class ImageTextReader:
    """Pictures with texts as a model of two towers reads them; what is missing is said, and left blank.

    Args:
        base: The base model.
        max_length: Most tokens of a text; None takes the model's limit.
        processor: Of pictures.
        table: Whose values stand beside them.
    """

    def __init__(
        self, base: BaseModel, max_length: int | None, processor: PictureProcessor, table: Table | None = None
    ) -> None:
        self.tokenizer = Tokenizer(base, max_length)
        self.processor, self.table = processor, table
        self._full = reads_full_length(base.config)

    def encode(self, values: Sequence[Any]) -> dict[str, list[Any]]:
        """Pixels as bytes, token ids, which of the two each row has, and the numbers of the table."""
        pictures, texts = [picture_of(value) for value in values], [text_of(value) for value in values]
        there = [picture for picture in pictures if picture is not None]
        read = iter(self.processor.read(there) if there else ())
        blank = torch.zeros(self.processor.shape, dtype=torch.uint8)
        pixels = [blank if picture is None else next(read) for picture in pictures]
        tokens, cut = self.tokenizer.texts(texts)
        if self._full:  # it was trained so, and without a mask
            tokens = {"input_ids": [self._filled(ids) for ids in tokens["input_ids"]]}
        table = self.table.encode([value.get("table") for value in values]) if self.table else {}
        return (
            tokens
            | table
            | {
                "size": [len(ids) for ids in tokens["input_ids"]],
                "cut": cut,
                "pixels": [picture.numpy().tobytes() for picture in pixels],
                "present": [
                    [int(picture is not None), int(bool(text))]
                    for picture, text in zip(pictures, texts, strict=True)
                ],
            }
        )

    def _filled(self, ids: list[int]) -> list[int]:
        padding = self.tokenizer.tokenizer.pad_token_id
        return ids + [padding] * (self.tokenizer.max_length - len(ids))

    def collate(self, encoded: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Token ids, padded to the longest of the batch, what is present, and the table's numbers, (b, w)."""
        table = {"table": torch.tensor([row["table"] for row in encoded])} if self.table else {}
        present = {"present": torch.tensor([row["present"] for row in encoded])}
        return self.tokenizer.pad(encoded) | present | table

    def save(self, folder: Path) -> None:
        """Write the tokenizer, and the columns of the table."""
        self.tokenizer.save(folder)
        if self.table:
            self.table.save(folder)
