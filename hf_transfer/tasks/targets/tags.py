"""Tags: one class a word, in IOB2, scored by whole entities."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.folds.columns import FoldColumns, Values
from hf_transfer.machine.wording import aligned
from hf_transfer.scores.scorer import Scorer
from hf_transfer.scores.shuffled import shuffle_tags
from hf_transfer.scores.statistics import apply_temperature
from hf_transfer.scores.tag_scorer import TaggingScorer
from hf_transfer.tasks.targets.classes import Classes
from hf_transfer.tasks.targets.entities import entities, legal_tags
from hf_transfer.tasks.targets.hard_rows import MOST_HARD, HardRows, wrong_sentences
from hf_transfer.tasks.targets.iob import entity_types, name_tags, types_of
from hf_transfer.tasks.targets.labels import LabelColumn, NamedLabels
from hf_transfer.tasks.targets.reading import Reading
from hf_transfer.tasks.targets.schemes import OUTSIDE
from hf_transfer.tasks.targets.target import IGNORE_INDEX

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset
    from torch import Tensor


class Tags(Classes):
    """One tag a word.

    Args:
        label_names: Tag of each label id, in IOB2, e.g. ("O", "B-PER", "I-PER").
    """

    name = "tags"
    problem_type = None
    per_word = True
    right_or_wrong = False
    counted = "entities"

    def _scorer(self) -> Scorer:
        return TaggingScorer(self.label_names)

    @classmethod
    def read(cls, columns: Sequence[LabelColumn]) -> NamedLabels:
        """The names of the tags, and each row's as numbers of them, one a word."""
        return name_tags(columns)

    @classmethod
    def label_type(cls, names: Sequence[str]) -> Any:
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

    @property
    def outside(self) -> int | None:  # type: ignore[override]
        """The tag of words that are part of no entity."""
        return self.label_names.index(OUTSIDE) if OUTSIDE in self.label_names else None

    def num_items(self, labels: Sequence[Any]) -> NDArray[Any]:
        """The number of words that are tagged."""
        return np.array([sum(tag != IGNORE_INDEX for tag in tags) for tags in labels], np.int64)

    def shuffled(
        self,
        labels: Sequence[Any],
        folds: NDArray[Any],
        *,
        seed: int,
        groups: Values | None,
    ) -> list[Any]:
        """Each sentence's own, its entities at other places."""
        shuffled = shuffle_tags([self._tags(row) for row in labels], seed=seed)
        numbers = {name: number for number, name in enumerate(self.label_names)}
        return [[numbers[tag] for tag in row] for row in shuffled]

    def exchanged(self, labels: Sequence[Any], groups: Values | None) -> str:
        """Words."""
        return "word"

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

    @property
    def not_two_classes(self) -> str | None:
        """What it does."""
        return "tags words"

    def answers(
        self, names: Sequence[str], columns: dict[str, Any], reading: Reading
    ) -> tuple[list[dict[str, Any]], str]:
        """The entities of each text, with their characters, and the tag of each word; all of it legal."""
        found, blocks = [], []
        for name, tokens, logs in zip(names, columns["tokens"], columns["outputs"], strict=True):
            ids = legal_tags(logs, self.label_names)
            shares = apply_temperature(logs, 1.0)[np.arange(len(ids)), ids] if len(ids) else np.zeros(0)
            tags = self._tags(ids)
            mentions = entities(name, tokens, tags, shares)
            found.append({"input": name, "tokens": tokens, "tags": tags, "entities": mentions})
            lines = [
                ["", m["type"], f"{m['probability']:.3f}", f"{m['start']}-{m['end']}", m["text"]]
                for m in mentions
            ]
            blocks.append("\n".join([name, aligned(lines) if lines else "  no entity"]))
        return found, "\n".join(blocks)

    def compared(self, predictions: "pa.Table") -> tuple[NDArray[Any], NDArray[Any]] | None:
        """The tags, word for word."""
        tags = (predictions[name].combine_chunks().flatten() for name in ("predictions", "labels"))
        return np.asarray(next(tags)), np.asarray(next(tags))

    def relabelled(
        self, encoded: Sequence[Any], row_of: Sequence[int], labels: Sequence[Any]
    ) -> Iterator[Any]:
        """A sentence's in order, over all its windows."""
        words: dict[int, Iterator[Any]] = {}
        for old, row in zip(encoded, row_of, strict=True):
            given = words.setdefault(row, iter(labels[row]))
            yield [label if label == IGNORE_INDEX else next(given) for label in old]

    def hard_rows(self, predictions: "pa.Table") -> HardRows:
        """The sentences with most wrong mentions."""
        return HardRows(sentences=wrong_sentences(predictions)[:MOST_HARD])

    def _tags(self, ids: Sequence[int] | NDArray[Any]) -> list[str]:
        return [self.label_names[i] for i in ids]

    def balance(self, rows: "Dataset | Mapping[str, Sequence[Any]]") -> FoldColumns:
        """Mentions of each entity type."""
        types = sorted({tag[2:] for tag in self.label_names if tag != "O"})
        labels = rows["label"][:]
        counts = np.zeros((len(labels), len(types)), np.int64)
        for row, ids in enumerate(labels):
            starts = Counter(self.label_names[i][2:] for i in ids if self.label_names[i].startswith("B-"))
            counts[row] = [starts[kind] for kind in types]
        return FoldColumns(counts=counts, label_names=tuple(types))

    def read_back(self, predictions: "pa.Table") -> list[Any]:
        """Tags as numbers."""
        ids = {name: i for i, name in enumerate(self.label_names)}
        return [[ids[tag] for tag in tags] for tags in predictions["labels"].to_pylist()]
