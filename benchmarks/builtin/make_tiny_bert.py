"""Make `builtin:tiny-bert`: a BERT configuration and a cased WordPiece vocabulary, no weights.

    python benchmarks/builtin/make_tiny_bert.py

The vocabulary comes from the two built-in corpora. Words are looked up, no weight is learned, so
nothing of a label can leak through it.
"""

import json
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, PreTrainedTokenizerFast

from hf_transfer.data import builtin

HERE = Path(builtin.__file__).parent
SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def main() -> None:
    """Write config.json and the tokenizer's files."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=4000, min_frequency=2, special_tokens=list(SPECIAL.values())
    )
    tokenizer.train_from_iterator(texts(), trainer)
    ends = {token: tokenizer.token_to_id(token) or 0 for token in ("[SEP]", "[CLS]")}
    tokenizer.post_processor = processors.BertProcessing(*ends.items())
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=128, **SPECIAL)
    config = BertConfig(
        vocab_size=len(fast),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=128,
    )
    folder = HERE / "tiny-bert"
    fast.save_pretrained(folder)
    config.save_pretrained(folder)


def texts() -> list[str]:
    """All sentences of the built-in corpora."""
    rows = [
        json.loads(line)
        for file in ("reviews.jsonl", "mentions.jsonl")
        for line in (HERE / file).read_text(encoding="utf-8").splitlines()
    ]
    return [row["text"] if "text" in row else " ".join(row["tokens"]) for row in rows]


if __name__ == "__main__":
    main()
