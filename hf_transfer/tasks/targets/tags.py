"""Tags: one class a word, in IOB2, scored by whole entities."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.folds.columns import FoldColumns
from hf_transfer.scores.scorer import Scorer
from hf_transfer.scores.tag_scorer import TaggingScorer
from hf_transfer.tasks.targets.classes import Classes
from hf_transfer.tasks.targets.iob import entity_types, name_tags, types_of
from hf_transfer.tasks.targets.labels import LabelColumn, NamedLabels
from hf_transfer.tasks.targets.target import IGNORE_INDEX

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor


class Tags(Classes):
    """One tag a word.

    Args:
        label_names: Tag of each label id, in IOB2, e.g. ("O", "B-PER", "I-PER").
    """

    name = "tags"
    problem_type = None

    def _scorer(self) -> Scorer:
        return TaggingScorer(self.label_names)

    @classmethod
    def read(cls, columns: Sequence[LabelColumn]) -> NamedLabels:
        """The names of the tags, and each row's as numbers of them, one a word."""
        return name_tags(columns)

    @classmethod
    def label_type(cls) -> Any:
        """A list of whole numbers."""
        from datasets import List, Value

        return List(Value("int64"))

    @property
    def class_names(self) -> Sequence[str]:
        """The types of entities."""
        return types_of(self.label_names)

    def classes_of(self, label: Any) -> Sequence[str]:
        """The type of each entity in the sentence."""
        return list(entity_types(self._tags(label)))

    def decode(self, outputs: "Tensor", labels: "Tensor") -> list[NDArray[Any]]:
        """Logits of the words that each window tags, in order, (words, c) in float32."""
        values, kept = outputs.float().cpu().numpy(), (labels != IGNORE_INDEX).cpu().numpy()
        return [row[mask] for row, mask in zip(values, kept, strict=True)]

    def columns(self, rows: "Dataset", decoded: Sequence[NDArray[Any]]) -> dict[str, Any]:
        """Words, tags and predicted tags, word for word."""
        columns: dict[str, list[Any]] = {"tokens": rows["input"][:]}
        if "label" in rows.column_names:
            columns["labels"] = [self._tags(ids) for ids in rows["label"][:]]
        return columns | {"predictions": [self._tags(logits.argmax(1)) for logits in decoded]}

    def _tags(self, ids: Sequence[int] | NDArray[Any]) -> list[str]:
        return [self.label_names[i] for i in ids]

    def balance(self, rows: "Dataset") -> FoldColumns:
        """Mentions of each entity type."""
        types = sorted({tag[2:] for tag in self.label_names if tag != "O"})
        counts = np.zeros((len(rows), len(types)), np.int64)
        for row, ids in enumerate(rows["label"][:]):
            starts = Counter(self.label_names[i][2:] for i in ids if self.label_names[i].startswith("B-"))
            counts[row] = [starts[kind] for kind in types]
        return FoldColumns(counts=counts, label_names=tuple(types))
