"""Objectives for texts: to guess masked words, and to know a text again through other dropout."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, AutoModelForMaskedLM

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ModelError
from hf_transfer.models.pretrainable import open_for_pretraining, save_pretrained
from hf_transfer.replay.batching import Batch
from hf_transfer.transfer.objective import Objective

_SHARE = 0.15  # of the words of a text that are guessed
_MASKED, _REPLACED = 0.8, 0.9  # of those, up to where they are masked, and then replaced by any token
_TEMPERATURE = 0.05
_NOT_GUESSED = -100


class MaskedWords(Objective):
    """Masked language modelling: whole words are masked, others at every use of a text.

    Args:
        task: Of which the base model and the tokenizer are used.
        from_scratch: Whether all weights begin anew.

    Raises:
        ModelError: If the tokenizer has no token for what is masked, or the model cannot be used.

    References:
        Devlin et al., "BERT", NAACL 2019; whole words since its release of May 2019.
    """

    name: ClassVar[str] = "masked-words"
    title: ClassVar[str] = "guessing masked words"

    def __init__(self, task: Any, *, from_scratch: bool) -> None:
        self.base, self.from_scratch = task.base, from_scratch
        tokenizer = task.tokenizer.tokenizer
        if tokenizer.mask_token_id is None:
            raise ModelError(
                f"The tokenizer of {task.base.name!r} has no mask token, so that no word can be masked. Give "
                "an encoder such as BERT or RoBERTa, or --objective same-texts."
            )
        self.mask, self.vocabulary = int(tokenizer.mask_token_id), len(tokenizer)
        special = torch.tensor(sorted(tokenizer.all_special_ids))
        self.special = torch.zeros(self.vocabulary, dtype=torch.bool).index_fill_(0, special, True)
        self.begins = torch.tensor(begins_word(tokenizer.convert_ids_to_tokens(range(self.vocabulary))))
        self.model, self.new = open_for_pretraining(
            task.base, AutoModelForMaskedLM, from_scratch=from_scratch
        )

    def loss(self, model: nn.Module, batch: Batch, random: torch.Generator) -> Tensor:
        """Mean cross-entropy of the masked tokens; 0 of texts without a word that the tokenizer knows."""
        ids = batch["input_ids"].cpu()
        chosen = masked_words(ids, self.special, self.begins, random)
        fate = torch.rand(ids.shape, generator=random)
        others = torch.randint(self.vocabulary, ids.shape, generator=random)
        shown = ids.masked_fill(chosen & (fate < _MASKED), self.mask)
        shown = torch.where(chosen & (fate >= _MASKED) & (fate < _REPLACED), others, shown)
        device = batch["input_ids"].device
        labels = ids.masked_fill(~chosen, _NOT_GUESSED).to(device)
        found = model(**batch | {"input_ids": shown.to(device)}, labels=labels)
        loss: Tensor = found.loss if bool(chosen.any()) else 0 * found.logits.sum()  # no mean of nothing
        return loss

    def save(self, folder: Path) -> None:
        """With the head for words, and the base model's own pooler."""
        save_pretrained(self.model, self.base, folder, keep_new=True, from_scratch=self.from_scratch)


def begins_word(tokens: Sequence[str]) -> list[bool]:
    """Whether each token of a vocabulary begins a word, by how tokenizers mark it.

    WordPiece marks what goes on ("##"), byte-level BPE and SentencePiece what begins ("Ġ", "▁"); without
    such marks every token is a word.
    """
    if any(token.startswith("##") for token in tokens):
        return [not token.startswith("##") for token in tokens]
    starts = tuple(mark for mark in ("Ġ", "▁") if any(token.startswith(mark) for token in tokens))
    return [not starts or token.startswith(starts) for token in tokens]


def masked_words(ids: Tensor, special: Tensor, begins: Tensor, random: torch.Generator) -> Tensor:
    """Choose 15 % of the words of each text, at least one, with all of their tokens, (b, l).

    Args:
        ids: Tokens, (b, l).
        special: Of each token of the vocabulary, whether it is none of a text.
        begins: Of each, whether it begins a word.
        random: Draws them.
    """
    usable = ~special[ids]
    first = usable & (usable.cumsum(1) == 1)
    starts = usable & (begins[ids] | first)
    word = (starts.cumsum(1) - 1).clamp(min=0)
    num_words = starts.sum(1, keepdim=True)
    draws = torch.rand(ids.shape, generator=random)  # one a word; there are no more words than tokens
    draws = draws.masked_fill(torch.arange(ids.shape[1]) >= num_words, 2.0)
    wanted = (num_words * _SHARE).round().long().clamp(min=1)
    highest = draws.sort(dim=1).values.gather(1, wanted - 1)
    return usable & (draws <= highest).gather(1, word)


class SameTexts(Objective):
    """SimCSE: a text read twice, through other dropout, is nearer to itself than to the rest of the batch.

    Args:
        task: Of which the base model is used.
        from_scratch: Whether all weights begin anew.

    Raises:
        ModelError: If the model has no dropout, or cannot be used.

    References:
        Gao et al., "SimCSE", EMNLP 2021, https://arxiv.org/abs/2104.08821.
    """

    name: ClassVar[str] = "same-texts"
    title: ClassVar[str] = "knowing a text again through dropout"
    drops_out: ClassVar[bool] = True
    fewest_rows: ClassVar[int] = 2

    def __init__(self, task: Any, *, from_scratch: bool) -> None:
        self.base, self.from_scratch = task.base, from_scratch
        self.first = task.settings.pooling == "first" or task.base.sentence.pooling == "cls"
        self.model, lacking = open_for_pretraining(task.base, AutoModel, from_scratch=from_scratch)
        self.new: list[str] = []  # a pooler that lacks is not used, nor saved
        self.lacking = lacking
        if not any(isinstance(m, nn.Dropout) and m.p > 0 for m in self.model.modules()):
            raise ModelError(
                f"base_model={task.base.name!r} has no dropout, so that a text read twice is twice the same. "
                "Set it in its config.json (0.1), or take --objective masked-words."
            )

    def loss(self, model: nn.Module, batch: Batch, random: torch.Generator) -> Tensor:
        """Cross-entropy of which text of the batch each is, by cosines over a temperature of 0.05."""
        twice = {name: torch.cat([tensor, tensor]) for name, tensor in batch.items()}
        hidden: Tensor = model(**twice).last_hidden_state.float()
        seen = twice["attention_mask"][..., None].to(hidden.dtype)
        pooled = hidden[:, 0] if self.first else (hidden * seen).sum(1) / seen.sum(1)
        one, other = functional.normalize(pooled, dim=1).chunk(2)
        return functional.cross_entropy(
            one @ other.T / _TEMPERATURE, torch.arange(len(one), device=one.device)
        )

    def save(self, folder: Path) -> None:
        """The encoder, with the base model's own pooler."""
        save_pretrained(self.model, self.base, folder, keep_new=False, from_scratch=self.from_scratch)
