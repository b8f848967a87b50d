"""Sentences that are cut into words as inputs."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hf_transfer import _guard  # noqa: F401
from hf_transfer.tasks.inputs.input import Original, SimpleProbe
from hf_transfer.tasks.inputs.text import Text, values_of

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset
    from torch import nn

    from hf_transfer.tasks.inputs.pooling import Pooling


class Words(Text):
    """A list of words a row."""

    name: ClassVar[str] = "tokens"
    noun: ClassVar[str] = "tagged sentence"
    nouns: ClassVar[str] = "tagged sentences"
    columns: ClassVar[tuple[str, ...]] = ("tokens", "words", "token")
    settings: ClassVar[tuple[str, ...]] = ("max_length",)
    encoded_by: ClassVar[tuple[str, ...]] = ("max_length",)
    empty: ClassVar[str] = "without words"
    needs: ClassVar[str] = "A sentence needs one or more words."
    simple_model: ClassVar[str] = "spelling of the word and its neighbours, linear"

    def __init__(self, split: "Callable[[str], list[str]]" = str.split) -> None:
        self._split = split

    def like(self, predicted: "Callable[[str], pa.Table]") -> "Words":
        """Words as the run's sentences have them: with punctuation apart, say."""
        from hf_transfer.tasks.inputs.splitting import Splitter

        learned = cache(lambda: Splitter.like(predicted("tokens")["tokens"].to_pylist()))
        return Words(lambda text: learned()(text))  # words that are given need none

    def words(self, value: Any) -> list[str]:
        """The input itself."""
        return value  # type: ignore[no-any-return]

    def read(
        self, dataset: "Dataset", column: str, *, folder: Path | None, outside: bool = False
    ) -> "Dataset":
        """A column of lists of words."""
        from hf_transfer.tasks.inputs.text_column import read_words

        return read_words(dataset, column)

    def read_new(self, dataset: "Dataset", column: str, *, folder: Path | None) -> list[Any]:
        """Lists of words, or texts that nobody has split yet."""
        if getattr(dataset.features[column], "dtype", None) == "string":
            texts = super().read(dataset, column, folder=folder)["input"]
            return [self.from_text(text) for text in texts]
        return super().read_new(dataset, column, folder=folder)

    def from_text(self, text: str) -> Any:
        """A text cut into words."""
        return self._split(text)

    def empty_rows(self, inputs: "Dataset") -> list[int]:
        """Those without words."""
        return [row for row, words in enumerate(values_of(inputs)) if not words]

    def doubts(self, inputs: "Dataset") -> tuple[str, ...]:
        """None: every word may be one."""
        return ()

    def content(self, value: Any) -> list[str | bytes]:
        """The words."""
        return list(value)

    def original(self, value: Any) -> Original:
        """The words, with spaces between them."""
        return super().original(" ".join(value))

    def pooling(self, model: "nn.Module") -> "Pooling":
        """The first subword of each word."""
        from hf_transfer.tasks.inputs.pooling import WordPooling

        return WordPooling(model)

    @property
    def simple_probe(self) -> SimpleProbe:
        """A linear model of each word's spelling and of its neighbours'."""
        from hf_transfer.tasks.inputs.simple_models import word_probe

        return word_probe
