"""Texts as inputs, one a row."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hf_transfer import _guard  # noqa: F401
from hf_transfer.tasks.inputs.input import Input, Likeness, Original, SimpleProbe

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import nn

    from hf_transfer.models.base_model import BaseModel
    from hf_transfer.tasks.inputs.judges import Judge
    from hf_transfer.tasks.inputs.pooling import Pooling

_LETTERS = 400  # of a text in a report


def is_visible(text: str) -> bool:
    """Whether a text has anything that is seen: not spaces alone, nor marks of no width or of direction."""
    return any(unicodedata.category(letter)[0] not in "ZC" for letter in text)


class Text(Input):
    """A text a row."""

    name: ClassVar[str] = "text"
    noun: ClassVar[str] = "text"
    nouns: ClassVar[str] = "texts"
    columns: ClassVar[tuple[str, ...]] = (
        "text", "sentence", "review", "content", "comment", "tweet", "message", "document", "body",
        "review_text", "question", "utterance",
    )  # fmt: skip
    settings: ClassVar[tuple[str, ...]] = ("max_length", "pooling", "zero_shot", "zero_shot_template")
    encoded_by: ClassVar[tuple[str, ...]] = ("max_length",)
    empty: ClassVar[str] = "with empty text"
    needs: ClassVar[str] = "Each needs a text."
    objectives: ClassVar[tuple[str, ...]] = ("masked-words", "same-texts")
    simple_model: ClassVar[str] = "TF-IDF of words and pairs, linear"

    def words(self, value: Any) -> list[str]:
        """The words of an input."""
        return value.split()  # type: ignore[no-any-return]

    def read(
        self, dataset: "Dataset", column: str, *, folder: Path | None, outside: bool = False
    ) -> "Dataset":
        """A column of texts."""
        from hf_transfer.tasks.inputs.text_column import read_texts

        return read_texts(dataset, column)

    def empty_rows(self, inputs: "Dataset") -> list[int]:
        """Those without a visible character."""
        return [row for row, text in enumerate(values_of(inputs)) if not is_visible(text)]

    def doubts(self, inputs: "Dataset") -> tuple[str, ...]:
        """Texts that may stand for a missing one."""
        from hf_transfer.tasks.targets.labels import missing_notes

        return missing_notes(values_of(inputs), "text", "the input")

    def content(self, value: Any) -> list[str | bytes]:
        """The text."""
        return [value]

    def likeness(self, parts: "Sequence[Dataset]") -> Likeness:
        """The text without differences of case and spaces, and groups by common pieces of five letters."""
        from hf_transfer.tasks.inputs.similarity import plain_text, similar_texts

        texts = [plain_text(" ".join(self.words(value))) for part in parts for value in part["input"]]
        return texts, lambda firsts: similar_texts([texts[row] for row in firsts])

    def lengths(self, rows: "Dataset") -> dict[str, float] | None:
        """By spaces."""
        from hf_transfer.tasks.inputs.text_column import lengths

        return lengths([len(self.words(value)) for value in rows["input"]])

    def excerpt(self, value: Any, length: int) -> str:
        """Its beginning."""
        text = " ".join(self.words(value))
        return repr(text if len(text) <= length else text[: length - 1] + "…")

    def original(self, value: Any) -> Original:
        """The text, or as much as there is room for."""
        return Original(text=value if len(value) <= _LETTERS else f"{value[:_LETTERS]}…")

    def judge(self, base: "BaseModel", names: Sequence[str], template: str | None, *, each: bool) -> "Judge":
        """A chat model, or one of entailment (NLI)."""
        from hf_transfer.tasks.inputs.judges import ChatJudge, TextJudge

        writes = str((base.config.architectures or [""])[0]).endswith("ForCausalLM")
        return (ChatJudge if writes else TextJudge)(base, names, template, each=each)

    def pooling(self, model: "nn.Module") -> "Pooling":
        """The first token, or a decoder's last, and the mean."""
        from hf_transfer.tasks.inputs.pooling import TextPooling

        return TextPooling(model)

    @property
    def simple_probe(self) -> SimpleProbe:
        """Logistic regression on TF-IDF."""
        from hf_transfer.tasks.inputs.simple_models import text_probe

        return text_probe


def values_of(inputs: "Dataset") -> Any:
    """The inputs, some at a time."""
    from hf_transfer.machine.mapped import ROWS_AT_ONCE

    return (value for batch in inputs.iter(ROWS_AT_ONCE) for value in batch["input"])
