"""Entities that are written in another way than as lists of words and tags."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset, Features, List, Value, concatenate_datasets

from hf_transfer import _guard  # noqa: F401
from hf_transfer.tasks.inputs.text_column import TEXT_TYPES
from hf_transfer.tasks.inputs.text_words import Place, word_places
from hf_transfer.tasks.targets.spans import Aligner, is_empty_list, is_spans
from hf_transfer.tasks.task import Written
from hf_transfer.tasks.written_lists import written_list

_TOKENS = "tokens"  # Prodigy's own words, with their places
_BETWEEN_TAGS = re.compile(r"[\s,]+")


def from_spans(rows: Dataset, input: str, label: str) -> Written | None:
    """Words and IOB2 tags of texts with spans of characters; None where they are something else.

    A text is split at spaces, with punctuation apart, or as its own column of tokens with places says.

    Raises:
        DataError: If a span does not fit its text, with its row.
    """
    feature = rows.features[label]
    if not _is_text(rows.features[input]) or not (is_spans(feature) or is_empty_list(feature)):
        return None
    aligner, own = Aligner(f"column {label!r}"), _own_tokens(rows)
    words: list[list[str]] = []
    tags: list[list[str]] = []
    for row, (given, spans) in enumerate(zip(rows[input], rows[label], strict=True)):
        text = given or ""
        places = word_places(text) if own is None else _places(own[row])
        words.append([text[start:end] for start, end in places])
        tags.append(aligner.tags(row, text, places, spans))
    return Written(_replaced(rows, {input: words, label: tags}), "spans of characters", aligner.notes())


def from_joined(rows: Dataset, input: str, label: str) -> Written | None:
    """Words and tags of two texts, with a tag for each word in every row; None where they are not."""
    if not (_is_text(rows.features[input]) and _is_text(rows.features[label])):
        return None
    words = [(text or "").split() for text in rows[input]]
    tags = [_BETWEEN_TAGS.split((text or "").strip()) if text else [] for text in rows[label]]
    if [*map(len, words)] != [*map(len, tags)] or any(written_list(text or "") for text in rows[label]):
        return None
    note = f"Texts of columns {input!r} and {label!r} were split at spaces, a word for each tag."
    return Written(_replaced(rows, {input: words, label: tags}), "", (note,))


def _own_tokens(rows: Dataset) -> Sequence[Any] | None:
    inner = getattr(rows.features.get(_TOKENS), "feature", None)
    return rows[_TOKENS] if isinstance(inner, Mapping) and {"start", "end"} <= inner.keys() else None


def _places(tokens: Sequence[Mapping[str, Any]] | None) -> list[Place]:
    places = [(token["start"], token["end"]) for token in tokens or () if token.get("text", "_").strip()]
    return sorted(places)


def _replaced(rows: Dataset, columns: Mapping[str, list[list[str]]]) -> Dataset:
    features = Features(dict.fromkeys(columns, List(Value("string"))))
    replaced, others = Dataset.from_dict(dict(columns), features), rows.remove_columns(list(columns))
    return concatenate_datasets([others, replaced], axis=1) if others.column_names else replaced


def _is_text(feature: Any) -> bool:
    return getattr(feature, "dtype", None) in TEXT_TYPES
