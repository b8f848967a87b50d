"""A base model's tokenizer, limited to the length that the model supports."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoTokenizer

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ModelError
from hf_transfer.models.base_model import BaseModel, quiet
from hf_transfer.models.building import longest_input

_UNLIMITED = 10**6  # tokenizers saved without a limit say 1e30


class Tokenizer:
    """Texts and word lists to token ids.

    Args:
        base: The base model.
        max_length: Most tokens of a text, special ones included; None takes the model's limit.
        words: Whether texts come split into words, which RoBERTa's tokenizer must be told.
        pairs: Whether texts come in pairs.

    Raises:
        ModelError: If there is no tokenizer, it has no padding token, is another model's, or cannot read
            pairs that come in such.
    """

    def __init__(
        self, base: BaseModel, max_length: int | None, *, words: bool = False, pairs: bool = False
    ) -> None:
        # RoBERTa's byte-level BPE marks the start of a word by the space before it.
        options = {"add_prefix_space": True} if words else {}
        self.tokenizer = base.load(AutoTokenizer, **options)
        self._set_padding(base)
        self.max_length = self._limit(base, max_length)
        if pairs:
            self._check_pairs(base)
        self.num_special = self.tokenizer.num_special_tokens_to_add(pair=pairs)
        if self.max_length - self.num_special < (2 if pairs else 0):
            raise ModelError(
                f"max_length={self.max_length} leaves no room for two texts beside {self.num_special} "
                "special tokens. Raise it."
            )

    def _set_padding(self, base: BaseModel) -> None:
        """Choose the side of the padding, and its token where there is none, as decoders have none."""
        tokenizer, known = self.tokenizer, getattr(base.config.get_text_config(), "vocab_size", None)
        known = known or len(tokenizer)  # a model of letters, as CANINE is, has no vocabulary
        unknown_padding = tokenizer.pad_token_id is not None and tokenizer.pad_token_id >= known
        if len(tokenizer) - unknown_padding > known:
            raise ModelError(
                f"The tokenizer of {base.name!r} has {len(tokenizer)} tokens, its model only "
                f"{known}: they belong to different models. Save matching ones together."
            )
        if tokenizer.pad_token_id is None or unknown_padding:
            token = tokenizer.eos_token or tokenizer.unk_token
            if token is None:
                raise ModelError(
                    f"The tokenizer of {base.name!r} has no padding token, nor an end of text to pad with. "
                    "Set its pad_token and save it again, or take an encoder such as BERT."
                )
            tokenizer.pad_token = token
        # A model that reads the last place, as XLNet does, needs the text to end there. Elsewhere padding on
        # the left would move the text to other positions.
        last = getattr(base.config, "summary_type", None) == "last"
        tokenizer.padding_side = "left" if last else "right"

    def _limit(self, base: BaseModel, wanted: int | None) -> int:
        limit = min(longest_input(base) or _UNLIMITED, self.tokenizer.model_max_length)
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

    @property
    def parts_pairs(self) -> bool:
        """Whether a token of its own stands between the two texts of a pair."""
        added = self.tokenizer.num_special_tokens_to_add
        return bool(added(pair=True) > added(pair=False))

    def _check_pairs(self, base: BaseModel) -> None:
        """Stop at a tokenizer that fails at a second text, or leaves it out."""
        try:
            with quiet():
                one, two = (len(self.tokenizer(*texts)["input_ids"]) for texts in (["one"], ["one", "two"]))
        except (ValueError, TypeError, NotImplementedError, IndexError, KeyError):
            one = two = 0
        if two <= one:
            raise ModelError(
                f"The tokenizer of {base.name!r} reads one text at a time, and the rows are pairs. Take a "
                "model such as BERT or RoBERTa, or one of the two columns by --input_column."
            )

    def pairs(
        self, firsts: Sequence[str], seconds: Sequence[str]
    ) -> tuple[dict[str, list[list[int]]], list[int]]:
        """Token ids of each pair and the number of tokens lost: of the longer text first, then of both."""
        with quiet():
            full = [
                self.tokenizer(list(texts), truncation=False, add_special_tokens=False)["input_ids"]
                for texts in (firsts, seconds)
            ]
            encoded = self.tokenizer(
                list(firsts), list(seconds), truncation="longest_first", max_length=self.max_length
            )
        room = self.max_length - self.num_special
        return dict(encoded), [max(0, len(a) + len(b) - room) for a, b in zip(*full, strict=True)]

    def words(self, words: Sequence[str]) -> tuple[dict[str, list[int]], list[int | None]]:
        """Token ids of a list of words, truncated, and the word of each token."""
        if not self.tokenizer.is_fast:
            return self._word_by_word(words)
        encoded = self.tokenizer(
            list(words), is_split_into_words=True, truncation=True, max_length=self.max_length
        )
        return dict(encoded), encoded.word_ids()

    def _word_by_word(self, words: Sequence[str]) -> tuple[dict[str, list[int]], list[int | None]]:
        """The same by a tokenizer in Python, which does not say what word a token is of."""
        parts = [self._ids(word) for word in words]
        room = self.max_length - self.num_special
        tokens = [(number, token) for number, ids in enumerate(parts) for token in ids][:room]
        ids = [token for _, token in tokens]
        with quiet():
            encoded = self.tokenizer.prepare_for_model(ids, add_special_tokens=True)
            special = self.tokenizer.get_special_tokens_mask(ids)
        numbers = iter(number for number, _ in tokens)
        return dict(encoded), [None if is_special else next(numbers) for is_special in special]

    def _ids(self, word: str) -> list[int]:
        return self.tokenizer(word, add_special_tokens=False)["input_ids"]  # type: ignore[no-any-return]

    def word_sizes(self, sentences: Sequence[Sequence[str]]) -> list[list[int]]:
        """Number of tokens of each word; 0 for dropped ones, such as control characters."""
        if not self.tokenizer.is_fast:
            return [[len(self._ids(word)) for word in words] for words in sentences]
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
        """Stack token ids, padded to the longest, (b, l)."""
        names = [name for name in self.tokenizer.model_input_names if name in encoded[0]]
        fill = {"input_ids": self.tokenizer.pad_token_id, "token_type_ids": self.tokenizer.pad_token_type_id}
        return {name: self.padded([row[name] for row in encoded], fill.get(name, 0)) for name in names}

    def padded(self, rows: Sequence[Sequence[int]], value: int) -> Tensor:
        """Stack lists of unequal length, filled with `value` on the side of the padding."""
        sizes = np.fromiter(map(len, rows), np.int64, len(rows))
        places = np.arange(sizes.max())
        if self.tokenizer.padding_side == "left":
            places = places[::-1]
        result = np.full((len(rows), len(places)), value)
        result[places < sizes[:, None]] = np.concatenate(rows)
        return torch.from_numpy(result)

    def save(self, folder: Path) -> None:
        """Write the tokenizer, with the length limit that was used."""
        self.tokenizer.model_max_length = self.max_length
        self.tokenizer.save_pretrained(folder)
