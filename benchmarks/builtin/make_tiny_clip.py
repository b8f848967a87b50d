"""Make `builtin:tiny-clip`: a CLIP of 44 thousand parameters, trained on captioned digits 0 to 4 only.

    python benchmarks/builtin/make_tiny_clip.py

It has never seen a 5, 6, 7, 8 or 9, which are what the demo transfers it to.
"""

import io
import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, PreTrainedTokenizerFast

from hf_transfer.data import builtin

HERE = Path(builtin.__file__).parent
TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
NAMES = ("zero", "one", "two", "three", "four")
WORDS = "a an the digit number small large odd even in grey written by hand this is or than less more"
STEPS, BATCH = 1500, 64


def main() -> None:
    """Learn which caption is of which picture, and put the model beside the data sets."""
    torch.manual_seed(0)
    tokenizer = tokenizer_of(WORDS, *NAMES)
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    text = TOWER | ids | {"vocab_size": len(tokenizer), "max_position_embeddings": 16}
    vision = TOWER | {"image_size": 32, "patch_size": 8}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16))
    plain = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    size = {"height": 32, "width": 32}
    processor = CLIPImageProcessor(size=size, crop_size=size, **plain)
    learn(model, tokenizer, processor)
    target = HERE / "tiny-clip"
    shutil.rmtree(target, ignore_errors=True)
    for part in (model, tokenizer, processor):
        part.save_pretrained(target)


def tokenizer_of(*texts: str) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words in small letters."""
    made = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    made.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=["[UNK]", "<start>", "<end>"]))
    ends = [(token, made.token_to_id(token)) for token in ("<start>", "<end>")]
    made.post_processor = processors.TemplateProcessing(single="<start> $A <end>", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="[UNK]", bos_token="<start>", eos_token="<end>", pad_token="<end>",
        model_max_length=16, model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def learn(model: CLIPModel, tokenizer: PreTrainedTokenizerFast, processor: CLIPImageProcessor) -> None:
    """Train on pairs of a picture and a caption that names the digit or says what it is like."""
    rows, draw = builtin.load("digits_0to4", "image"), np.random.default_rng(0)
    shown = [Image.open(io.BytesIO(one["bytes"])).convert("RGB") for one in rows["image"]]
    pixels = processor(shown, return_tensors="pt")["pixel_values"]
    labels = np.asarray(rows["label"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    for step in range(STEPS):
        chosen = draw.choice(len(labels), BATCH, replace=False)
        captions = [caption(digit, draw) for digit in labels[chosen]]
        tokens = tokenizer(captions, padding=True, return_tensors="pt")
        loss = model(**tokens, pixel_values=pixels[chosen], return_loss=True).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 99:
            print(step + 1, round(loss.item(), 3))


def caption(digit: int, draw: np.random.Generator) -> str:
    """A caption of a digit."""
    kind = "even" if digit % 2 == 0 else "odd"
    size = "small" if digit < 3 else "large"
    return str(
        draw.choice([f"the digit {NAMES[digit]} in grey", f"an {kind} number", f"a {size} {kind} digit"])
    )


if __name__ == "__main__":
    main()
