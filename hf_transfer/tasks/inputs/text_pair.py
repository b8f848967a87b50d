"""Pairs of texts as inputs: a premise and a hypothesis, two sentences, a question and its passage."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError
from hf_transfer.tasks.inputs.input import Likeness, Links, Original, SimpleProbe
from hf_transfer.tasks.inputs.text import Text, is_visible, values_of
from hf_transfer.tasks.inputs.two_columns import APART, in_twos, object_with, two_columns

if TYPE_CHECKING:
    from datasets import Dataset


_KEYS = ("text", "text_pair")  # as the pipelines of transformers take a pair
_TEXT = Text()


class TextPair(Text):
    """Two texts a row, as {"text", "text_pair"}."""

    name: ClassVar[str] = "text_pair"
    noun: ClassVar[str] = "pair of texts"
    nouns: ClassVar[str] = "pairs of texts"
    columns: ClassVar[tuple[str, ...]] = (
        "text,text_pair", "premise,hypothesis", "sentence1,sentence2", "sentence_1,sentence_2",
        "sentence_a,sentence_b", "question1,question2", "text1,text2", "text_a,text_b", "query,passage",
        "query,document", "question,sentence", "question,passage", "question,context", "question,answer",
        "claim,evidence",
    )  # fmt: skip
    settings: ClassVar[tuple[str, ...]] = ("max_length", "pooling", "shared_texts")
    empty: ClassVar[str] = "with an empty text"
    needs: ClassVar[str] = "A pair needs both of its texts."
    objectives: ClassVar[tuple[str, ...]] = ()  # its models learn from plain texts
    simple_model: ClassVar[str] = "TF-IDF of both texts and what they share, linear"

    def columns_of(self, column: str) -> list[str]:
        """The two, which stand with a comma between them."""
        return two_columns(column, "A pair of texts is", "premise,hypothesis")

    def words(self, value: Any) -> list[str]:
        """The words of both."""
        return [word for key in _KEYS for word in value[key].split()]

    def read(
        self, dataset: "Dataset", column: str, *, folder: Path | None, outside: bool = False
    ) -> "Dataset":
        """Two columns of texts."""
        from hf_transfer.tasks.inputs.text_column import read_texts, side_by_side

        texts = [read_texts(dataset, name) for name in self.columns_of(column)]
        return side_by_side(dict(zip(_KEYS, texts, strict=True)))

    def notes(self, column: str) -> tuple[str, ...]:
        """That two columns are read as pairs."""
        first, second = map(repr, self.columns_of(column))
        return (f"Columns {first} and {second} are read as pairs; --input_column takes one, or others.",)

    def from_words(self, words: Sequence[str]) -> list[str]:
        """A pair of each two words; a word that is a pair already stands by itself."""
        return in_twos(
            words,
            _is_pair,
            lambda first: (
                f"The model reads pairs of texts, and {first} has no second. Give two texts for each pair."
            ),
        )

    def from_text(self, text: str) -> Any:
        """Two texts with a tab between them, or an object of JSON with "text" and "text_pair"."""
        if not _is_pair(text):
            raise DataError(
                f"{text[:60]!r} is not a pair of texts. Write two texts with a tab between them, or "
                '{"text": "…", "text_pair": "…"}.'
            )
        return _as_object(text) or dict(zip(_KEYS, text.split(APART), strict=True))

    def names(self, rows: "Dataset", column: str) -> list[str]:
        """Both texts of each row."""
        pairs = zip(*(rows[name] for name in self.columns_of(column)), strict=True)
        return [APART.join(text or "" for text in pair) for pair in pairs]

    def empty_rows(self, inputs: "Dataset") -> list[int]:
        """Those with a text that has no visible character."""
        pairs = enumerate(values_of(inputs))
        return [row for row, pair in pairs if not all(is_visible(pair[key]) for key in _KEYS)]

    def doubts(self, inputs: "Dataset") -> tuple[str, ...]:
        """Texts that may stand for a missing one."""
        from hf_transfer.tasks.targets.labels import missing_notes

        columns = ([pair[key] for pair in values_of(inputs)] for key in _KEYS)
        found = (missing_notes(texts, "text", key) for key, texts in zip(_KEYS, columns, strict=True))
        return tuple(chain.from_iterable(found))

    def content(self, value: Any) -> list[str | bytes]:
        """Both texts."""
        return [value[key] for key in _KEYS]

    def likeness(self, parts: "Sequence[Dataset]") -> Likeness:
        """Both texts without differences of case and spaces; a pair is like another in both of them."""
        from hf_transfer.tasks.inputs.shared_texts import similar_pairs
        from hf_transfer.tasks.inputs.similarity import plain_text

        pairs = [tuple(plain_text(pair[key]) for key in _KEYS) for part in parts for pair in part["input"]]
        return pairs, lambda firsts: similar_pairs([pairs[row] for row in firsts])

    def links(self, rows: "Dataset") -> Links:
        """Both texts, whichever of the two it is in another row."""
        return Links("text", [[pair[key] for pair in values_of(rows)] for key in _KEYS])

    def excerpt(self, value: Any, length: int) -> str:
        """The beginnings of both."""
        return " / ".join(_TEXT.excerpt(value[key], length // 2) for key in _KEYS)

    def original(self, value: Any) -> Original:
        """Both texts, or as much as there is room for."""
        return Original(text="\n".join(str(_TEXT.original(value[key]).text) for key in _KEYS))

    @property
    def simple_probe(self) -> SimpleProbe:
        """A linear model of the words of both, and of those that they share."""
        from hf_transfer.tasks.inputs.simple_models import pair_probe

        return pair_probe


def _is_pair(text: str) -> bool:
    return text.count(APART) == 1 or _as_object(text) is not None


def _as_object(text: str) -> dict[str, str] | None:
    """The pair that an object of JSON holds, if the text is one."""
    found = object_with(text, _KEYS)
    return found if found and all(isinstance(value, str) for value in found.values()) else None
