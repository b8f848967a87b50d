"""Text classification: one label a text, e.g. its sentiment."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hf_transfer.tasks.inputs.input import Input
from hf_transfer.tasks.inputs.text import Text
from hf_transfer.tasks.targets.classes import Classes
from hf_transfer.tasks.targets.grades import Grades
from hf_transfer.tasks.targets.label_sets import LabelSets
from hf_transfer.tasks.targets.numbers import Numbers
from hf_transfer.tasks.task import CommonTask

_BY_MEAN = (
    "the published model loads with sentence-transformers; --pooling first gives a plain pipeline model"
)

if TYPE_CHECKING:
    from torch import Tensor, nn


class SequenceClassification(CommonTask):
    """Label each text; what exceeds the model's length is cut and counted.

    Args:
        settings: Of which the base model, its control arms, `max_length` and `pooling` are used.
        labels: What read them, or the names of classes.
    """

    name: ClassVar[str] = "text-classification"
    input: ClassVar[Input] = Text()
    targets = (Classes, LabelSets, Numbers, Grades)
    label_columns: ClassVar[tuple[str, ...]] = (
        "label", "labels", "class", "target", "sentiment", "category", "intent", "emotion", "y", "score",
        "rating",
    )  # fmt: skip
    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"

    @cached_property
    def tokenizer(self) -> Any:
        """The base model's tokenizer and how many tokens fit."""
        from hf_transfer.tasks.inputs.tokenizer import Tokenizer

        return Tokenizer(self.base, self.settings.max_length)

    @cached_property
    def _classifier(self) -> tuple[Any, dict[str, Any]]:
        from hf_transfer.models.building import text_classifier

        return text_classifier(self.base, self.settings)

    @property
    def library(self) -> str:
        """`sentence-transformers` for a classifier by the mean that transformers has no class for."""
        from hf_transfer.models.mean_classifier import MeanClassifier

        return "sentence-transformers" if self._classifier[0] is MeanClassifier else super().library

    @property
    def notes(self) -> Sequence[str]:  # type: ignore[override]
        """How texts are pooled, where that is not the rule."""
        from hf_transfer.models.notes import own_head_note

        _, configured = self._classifier
        made_for = self.settings.pooling == "auto"
        why = "as the checkpoint was made for" if made_for else "as pooling=mean asks for"
        if self.library == "transformers":
            by_mean = configured.get("classifier_pooling") == "mean"
            return (f"Texts are pooled by their mean, {why}.",) if by_mean else ()
        note = f"Texts are pooled by their mean, {why}; {_BY_MEAN}{', at a cost' * made_for}."
        head = self.base.sentence.head
        return (note, own_head_note(self.base, self.label_names)) if head else (note,)

    def build_model(self) -> "nn.Module":
        """A fresh encoder with a new classifier."""
        from hf_transfer.models.building import build_model

        auto_class, configured = self._classifier
        configured["problem_type"] = self.target.problem_type
        if self.base.finds_end_by_padding:
            configured["pad_token_id"] = self.tokenizer.tokenizer.pad_token_id
        return build_model(self.base, auto_class, self.label_names, self.settings, **configured)

    def encode(self, rows: Mapping[str, list[Any]], positions: Sequence[int]) -> dict[str, list[Any]]:
        """Tokenize a batch of texts, without padding."""
        return self.encoded(rows, positions, *self.tokenizer.texts(rows["input"]))

    def encoded(
        self,
        rows: Mapping[str, list[Any]],
        positions: Sequence[int],
        tokens: Mapping[str, list[Any]],
        cut: Sequence[int],
    ) -> dict[str, list[Any]]:
        """Tokens of rows as `encode` gives them."""
        return dict(tokens) | {
            "row": list(positions),
            "size": [len(ids) for ids in tokens["input_ids"]],
            "cut": list(cut),
            "labels": self.labels_of(rows),
        }

    def collate(self, encoded: Sequence[Mapping[str, Any]]) -> "dict[str, Tensor]":
        """Pad to the longest of the batch, (b, l); labels (b, …)."""
        import torch

        batch = self.tokenizer.pad(encoded)
        batch["labels"] = torch.tensor([row["labels"] for row in encoded])
        return batch  # type: ignore[no-any-return]

    def save_processor(self, folder: Path) -> None:
        """Write the tokenizer with its true length limit."""
        self.tokenizer.save(folder)
