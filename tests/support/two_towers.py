"""Small models of a tower for pictures and one for texts, and rows of both, made anew for each test."""

import io
import json
from pathlib import Path

import numpy as np
import torch
import transformers as hf
from PIL import Image
from small_runs import plain_config
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from hf_transfer import ImageTextClassification, cross_validate, open_dataset

WORDS = "red green blue small large old new round flat warm cold a the of in"
_TOWER = {"num_attention_heads": 2, "intermediate_size": 32}
_TEXT = _TOWER | {"hidden_size": 16, "num_hidden_layers": 2, "max_position_embeddings": 12}
_VISION = _TOWER | {"hidden_size": 24, "num_hidden_layers": 3, "image_size": 32, "patch_size": 16}


def save_clip(folder: Path, seed: int = 0) -> Path:
    """A CLIP with random weights, whose texts are of any length."""
    tokenizer = _tokenizer(("<start>", "<end>"))
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in (
        ("bos_token_id", "<start>"), ("eos_token_id", "<end>"), ("pad_token_id", "<end>"),
    )}  # fmt: skip
    config = hf.CLIPConfig(
        text_config=_TEXT | {"vocab_size": len(tokenizer)} | ids, vision_config=_VISION, projection_dim=8
    )
    return _save(folder, hf.CLIPModel, config, tokenizer, hf.CLIPImageProcessor, seed)


def save_siglip(folder: Path, seed: int = 0) -> Path:
    """A SigLIP with random weights, whose texts are always filled up to the same length."""
    tokenizer = _tokenizer(("<start>", "<end>"))
    vision = _VISION | {"hidden_size": 16}
    config = hf.SiglipConfig(
        text_config=_TEXT | {"vocab_size": len(tokenizer), "pad_token_id": 2, "eos_token_id": 2},
        vision_config=vision,
    )
    return _save(folder, hf.SiglipModel, config, tokenizer, hf.SiglipImageProcessor, seed)


FAMILIES = {"clip": save_clip, "siglip": save_siglip}


def _tokenizer(special):
    made = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.train_from_iterator([WORDS], trainers.WordLevelTrainer(special_tokens=["[UNK]", *special]))
    start, end = special
    made.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(token, made.token_to_id(token)) for token in special]
    )
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="[UNK]", bos_token=start, eos_token=end, pad_token=end,
        model_max_length=12, model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def _save(folder, kind, config, tokenizer, processor, seed):
    torch.manual_seed(seed)
    kind(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = {"height": 32, "width": 32}
    options = {"crop_size": size} if processor is hf.CLIPImageProcessor else {}
    processor(size=size, **options).save_pretrained(folder)
    return folder


def picture(colour, rng) -> bytes:
    """A picture of a colour with some noise, encoded."""
    pixels = np.clip(np.asarray(colour) + rng.integers(-40, 41, (32, 32, 3)), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


COLOURS = {"red": (200, 60, 60), "blue": (60, 60, 200)}


def rows_in(
    folder: Path, num_rows: int = 40, *, told_by=("picture", "text"), wrong_every: int = 0, seed: int = 0
) -> Path:
    """Write a JSON Lines file with paths of pictures, texts and labels; give its path.

    Args:
        folder: Where to.
        num_rows: How many.
        told_by: Which of the two tells the label; the other has no part in it.
        wrong_every: Of so many rows one has the other label; of none where it is 0.
        seed: Of the noise.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for row in range(num_rows):
        label = ("red", "blue")[row % 2]
        seen = {
            part: label if part in told_by else rng.choice(["red", "blue"]) for part in ("picture", "text")
        }
        (folder / f"{row}.png").write_bytes(picture(COLOURS[seen["picture"]], rng))
        others = rng.choice(["small", "large", "old", "new", "round"], 2)
        text = f"{others[0]} {'warm' if seen['text'] == 'red' else 'cold'} {others[1]}"
        if wrong_every and row % wrong_every == 0:
            label = {"red": "blue", "blue": "red"}[label]
        lines.append({"image": f"{row}.png", "text": text, "label": label})
    path = folder / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def trained(folder, rows, **settings):
    """Train a head on the rows; give the run's folder and the data."""
    config = plain_config(**{
        "base_model": str(folder / "base"), "dataset": str(rows), "num_folds": 4, "num_epochs": 4,
        "trainable": "head", "learning_rate": 1e-2, "output_dir": str(folder / "run"), **settings,
    })  # fmt: skip
    data = open_dataset(config, ImageTextClassification)
    cross_validate(data.task(config, data.target), data, config)
    return Path(config.output_dir), data
