"""A base model's tokenizer, limited to the length that the model supports."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ModelError
from hf_transfer.models.base_model import BaseModel, quiet

_UNLIMITED = 10**6  # tokenizers saved without a limit say 1e30


class Tokenizer:
    """Texts and word lists to token ids.

    Args:
        base: The base model.
        max_length: Most tokens of a text, special ones included; None takes the model's limit.
        words: Whether texts come split into words, which RoBERTa's tokenizer must be told.

    Raises:
        ModelError: If there is no tokenizer, it has no padding token, or is another model's.
    """

    def __init__(self, base: BaseModel, max_length: int | None, *, words: bool = False) -> None:
        # RoBERTa's byte-level BPE marks the start of a word by the space before it.
        options = {"add_prefix_space": True} if words else {}
        self.tokenizer = base.load(AutoTokenizer, **options)
        if self.tokenizer.pad_token_id is None:
            raise ModelError(
                f"The tokenizer of {base.name!r} has no padding token. Use an encoder such as BERT."
            )
        if len(self.tokenizer) > base.config.vocab_size:
            raise ModelError(
                f"The tokenizer of {base.name!r} has {len(self.tokenizer)} tokens, its model only "
                f"{base.config.vocab_size}: they belong to different models. Save matching ones together."
            )
        self.max_length = self._limit(base, max_length)
        self.num_special = self.tokenizer.num_special_tokens_to_add()

    def _limit(self, base: BaseModel, wanted: int | None) -> int:
        positions = getattr(base.config, "max_position_embeddings", None) or _UNLIMITED
        if base.config.model_type in {"roberta", "xlm-roberta", "camembert", "mpnet", "longformer"}:
            positions -= (
                base.config.pad_token_id + 1
            )  # their positions are counted from behind the padding id
        limit = min(positions, self.tokenizer.model_max_length)
        limit = 512 if limit >= _UNLIMITED else int(limit)
        if wanted is not None and wanted > limit:
            raise ModelError(
                f"max_length={wanted} is more than the {limit} tokens that {base.name!r} can read. "
                "Lower it or leave it out."
            )
        return wanted or limit

    def texts(self, texts: Sequence[str]) -> tuple[dict[str, list[list[int]]], list[int]]:
        """Token ids of each text, truncated, and the number of tokens lost."""
        with quiet():
            full = self.tokenizer(list(texts), truncation=False, add_special_tokens=False)["input_ids"]
            encoded = self.tokenizer(list(texts), truncation=True, max_length=self.max_length)
        room = self.max_length - self.num_special
        return dict(encoded), [max(0, len(ids) - room) for ids in full]

    def words(self, words: Sequence[str]) -> tuple[dict[str, list[int]], list[int | None]]:
        """Token ids of a list of words, truncated, and the word of each token."""
        encoded = self.tokenizer(
            list(words), is_split_into_words=True, truncation=True, max_length=self.max_length
        )
        return dict(encoded), encoded.word_ids()

    def word_sizes(self, sentences: Sequence[Sequence[str]]) -> list[list[int]]:
        """Number of tokens of each word; 0 for dropped ones, such as control characters."""
        with quiet():
            encoded = self.tokenizer(
                [list(words) for words in sentences], is_split_into_words=True, add_special_tokens=False
            )
        sizes = []
        for row, words in enumerate(sentences):
            count = [0] * len(words)
            for word in encoded.word_ids(row):
                if word is not None:
                    count[word] += 1
            sizes.append(count)
        return sizes

    def pad(self, encoded: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Stack token ids, padded on the right to the longest, (b, l)."""
        names = [name for name in self.tokenizer.model_input_names if name in encoded[0]]
        fill = {"input_ids": self.tokenizer.pad_token_id, "token_type_ids": self.tokenizer.pad_token_type_id}
        return {name: pad_right([row[name] for row in encoded], fill.get(name, 0)) for name in names}

    def save(self, folder: Path) -> None:
        """Write the tokenizer, with the length limit that was used."""
        self.tokenizer.model_max_length = self.max_length
        self.tokenizer.save_pretrained(folder)


def pad_right(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    """Stack lists of unequal length, filled with `value` on the right."""
    result = torch.full((len(rows), max(map(len, rows))), value)
    for row, ids in zip(result, rows, strict=True):
        row[: len(ids)] = torch.tensor(ids)
    return result
