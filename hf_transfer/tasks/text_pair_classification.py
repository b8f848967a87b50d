"""Classification of pairs of texts: entailment, duplicates, whether a passage answers a question."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from hf_transfer.tasks.inputs.input import Input
from hf_transfer.tasks.inputs.text import Text
from hf_transfer.tasks.inputs.text_pair import TextPair
from hf_transfer.tasks.text_classification import SequenceClassification


class TextPairClassification(SequenceClassification):
    """Label each pair, which the model reads together; what exceeds its length is cut from the longer text.

    Args:
        settings: Of which the base model, its control arms, `max_length` and `pooling` are used.
        labels: What read them, or the names of classes.
    """

    input: ClassVar[Input] = TextPair()
    label_columns: ClassVar[tuple[str, ...]] = (
        *SequenceClassification.label_columns, "gold_label", "is_duplicate", "similarity",
        "similarity_score", "relatedness_score", "entailment_judgment", "relevance",
    )  # fmt: skip

    @classmethod
    def takes(cls, features: Mapping[str, Any], column: str | None) -> bool:
        """Two columns are named; or none is, and two have usual names, of which one text would be taken."""
        if column is not None:
            return "," in column and column not in features
        there = {name.lower() for name in features}
        pairs = [set(cls.input.columns_of(pair)) for pair in cls.input.columns]
        single = next((name for name in Text.columns if name in there), None)
        return any(there >= pair and (single is None or single in pair) for pair in pairs)

    @cached_property
    def tokenizer(self) -> Any:
        """The base model's tokenizer, which must read pairs."""
        from hf_transfer.tasks.inputs.tokenizer import Tokenizer

        return Tokenizer(self.base, self.settings.max_length, pairs=True)

    @property
    def notes(self) -> Sequence[str]:  # type: ignore[override]
        """Those of single texts, and where nothing parts the two."""
        glued = f"The tokenizer of {self.base.name} puts nothing between the two texts of a pair."
        return super().notes if self.tokenizer.parts_pairs else (*super().notes, glued)

    def encode(self, rows: Mapping[str, list[Any]], positions: Sequence[int]) -> dict[str, list[Any]]:
        """Tokenize a batch of pairs, without padding."""
        firsts, seconds = ([pair[key] for pair in rows["input"]] for key in ("text", "text_pair"))
        return self.encoded(rows, positions, *self.tokenizer.pairs(firsts, seconds))
