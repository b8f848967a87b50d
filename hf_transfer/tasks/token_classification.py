"""Token classification: one tag a word, e.g. named-entity recognition."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from hf_transfer.tasks.inputs.input import Input
from hf_transfer.tasks.inputs.words import Words
from hf_transfer.tasks.targets.tags import Tags
from hf_transfer.tasks.targets.target import IGNORE_INDEX
from hf_transfer.tasks.task import CommonTask

if TYPE_CHECKING:
    from torch import Tensor, nn


class TokenClassification(CommonTask):
    """Tag the first subword of every word; a long sentence is read in overlapping windows.

    No word is lost to the length limit: each is tagged in exactly one window, with words around it
    to read but not to tag.

    Args:
        settings: Of which the base model, its control arms and `max_length` are used.
        labels: What read them, or the tag of each label id, in IOB2, e.g. ("O", "B-PER", "I-PER").
    """

    name: ClassVar[str] = "token-classification"
    input: ClassVar[Input] = Words()
    targets = (Tags,)
    label_columns: ClassVar[tuple[str, ...]] = ("ner_tags", "tags", "labels", "ner", "ner_labels", "entities")
    metric_names: ClassVar[Mapping[str, str]] = MappingProxyType({"accuracy": "accuracy (tags)"})
    auto_class: ClassVar[str] = "AutoModelForTokenClassification"

    @cached_property
    def tokenizer(self) -> Any:
        """The base model's tokenizer for words that come already split."""
        from hf_transfer.tasks.inputs.tokenizer import Tokenizer

        return Tokenizer(self.base, self.settings.max_length, words=True)

    def build_model(self) -> "nn.Module":
        """A fresh encoder with a new tagger."""
        from transformers import AutoModelForTokenClassification

        from hf_transfer.models.building import build_model

        return build_model(self.base, AutoModelForTokenClassification, self.label_names, self.settings)

    def encode(self, rows: Mapping[str, list[Any]], positions: Sequence[int]) -> dict[str, list[Any]]:
        """Tokenize a batch of sentences into windows, labels on first subwords only."""
        sizes = self.tokenizer.word_sizes(rows["input"])
        labels = rows.get("label") or [[0] * len(words) for words in rows["input"]]
        windows = [
            self._window(position, words, tags, window)
            for position, words, tags, size in zip(positions, rows["input"], labels, sizes, strict=True)
            for window in word_windows(size, self.tokenizer.max_length - self.tokenizer.num_special)
        ]
        names = windows[0].keys() if windows else {"row", "size", "labels", "input_ids", "attention_mask"}
        return {name: [window[name] for window in windows] for name in names}

    def _window(
        self, position: int, words: Sequence[str], tags: Sequence[int], window: "tuple[range, range]"
    ) -> dict[str, Any]:
        seen, tagged = window
        unknown = self.tokenizer.tokenizer.unk_token
        text = [words[i] if words[i].strip() else unknown for i in seen]
        encoded, word_ids = self.tokenizer.words(text)
        if len({word for word in word_ids if word is not None}) < len(text):  # words without any token
            text = [
                w if size else unknown
                for w, size in zip(text, self.tokenizer.word_sizes([text])[0], strict=True)
            ]
            encoded, word_ids = self.tokenizer.words(text)
        wanted = [tags[i] if i in tagged else IGNORE_INDEX for i in seen]
        return {
            **encoded,
            "row": position,
            "size": len(word_ids),
            "labels": first_subword_labels(word_ids, wanted),
        }

    def collate(self, encoded: Sequence[Mapping[str, Any]]) -> "dict[str, Tensor]":
        """Pad to the longest of the batch, (b, l), labels too."""
        from hf_transfer.tasks.inputs.tokenizer import pad_right

        batch = self.tokenizer.pad(encoded)
        batch["labels"] = pad_right([row["labels"] for row in encoded], IGNORE_INDEX)
        return batch  # type: ignore[no-any-return]

    def save_processor(self, folder: Path) -> None:
        """Write the tokenizer with its true length limit."""
        self.tokenizer.save(folder)


def first_subword_labels(word_ids: Sequence[int | None], labels: Sequence[int]) -> list[int]:
    """Spread one label a word over subwords: the first keeps it, the rest are ignored.

    Example:
        >>> first_subword_labels([None, 0, 0, 1, None], labels=[3, 7])  # [CLS] Wash ##ington fell [SEP]
        [-100, 3, -100, 7, -100]
    """
    starts = [word is not None and word != previous for previous, word in pairwise([None, *word_ids])]
    return [
        labels[word] if first and word is not None else IGNORE_INDEX
        for first, word in zip(starts, word_ids, strict=True)
    ]


def word_windows(sizes: Sequence[int], room: int) -> Iterator[tuple[range, range]]:
    """Cut a sentence into windows that fit: the words to read, and those of them to tag.

    Args:
        sizes: Tokens of each word.
        room: Tokens that fit beside the special ones; a word longer than that is cut by itself.

    Example:
        >>> list(word_windows([1, 1, 1, 1, 1, 1], room=4))
        [(range(0, 4), range(0, 3)), (range(2, 6), range(3, 5)), (range(4, 6), range(5, 6))]
    """
    if not sizes:
        return
    ends = [0, *accumulate(max(1, size) for size in sizes)]
    if ends[-1] <= room:
        yield range(len(sizes)), range(len(sizes))
        return
    around = room // 4
    start = 0
    while start < len(sizes):
        low = start
        while low > 0 and ends[start] - ends[low - 1] <= around:
            low -= 1
        stop = start + 1
        while stop < len(sizes) and ends[stop + 1] - ends[low] <= room - around:
            stop += 1
        low = start if ends[stop] - ends[low] > room else low
        high = stop
        while high < len(sizes) and ends[high + 1] - ends[low] <= room:
            high += 1
        yield range(low, high), range(start, stop)
        start = stop
