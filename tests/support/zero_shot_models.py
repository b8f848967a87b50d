"""Tiny models that judge by the names of labels: CLIP, SigLIP, and BERT for entailment (NLI)."""

from pathlib import Path

import torch
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

NAMES = ("five", "six", "seven", "eight", "nine")
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
SIDE = 16


def word_tokenizer(texts: list[str]) -> hf.PreTrainedTokenizerFast:
    """One token a word, and an end of text."""
    words = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["[UNK]", "[PAD]", "[BOS]", "</s>"]
    words.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=special))
    words.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 3)])
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]", eos_token="</s>", model_max_length=64
    )


def pictures_and_texts(folder: Path, *, kind: str = "clip", seed: int = 0) -> str:
    """Write a CLIP or a SigLIP with random weights."""
    torch.manual_seed(seed)
    tokenizer = word_tokenizer([f"a photo of a {name}." for name in NAMES])
    text = SMALL | {"vocab_size": len(tokenizer), "max_position_embeddings": 64, "pad_token_id": 1}
    vision = SMALL | {"image_size": SIDE, "patch_size": 8}
    if kind == "clip":
        own = {"bos_token_id": 2, "eos_token_id": 3, "projection_dim": 16}
        config = hf.CLIPConfig(text_config=text | own, vision_config=vision | own, projection_dim=16)
        model, processor = hf.CLIPModel(config), hf.CLIPImageProcessor
        sizes = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    else:
        model = hf.SiglipModel(hf.SiglipConfig(text_config=text, vision_config=vision))
        processor, sizes = hf.SiglipImageProcessor, {"size": {"height": SIDE, "width": SIDE}}
    with torch.no_grad():  # far enough apart to have an opinion
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor(**sizes).save_pretrained(folder)
    return str(folder)


def entailment(folder: Path, labels: tuple[str, ...] = ("contradiction", "neutral", "entailment")) -> str:
    """Write a BERT for pairs of texts with random weights, and the tokenizer of the built-in one."""
    from hf_transfer import RunConfig
    from hf_transfer.models.base_model import open_base_model

    torch.manual_seed(0)
    base = open_base_model(RunConfig(base_model="builtin:tiny-bert"))
    config = type(base.config).from_dict(
        base.config.to_dict(),
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={name: i for i, name in enumerate(labels)},
        initializer_range=0.5,
    )
    hf.AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    base.load(hf.AutoTokenizer).save_pretrained(folder)
    return str(folder)
