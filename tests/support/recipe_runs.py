"""Small runs of each recipe, within this process."""

import runpy
from pathlib import Path
from unittest.mock import patch

import pytest

import hf_transfer

RECIPES = Path(hf_transfer.__file__).parents[1] / "recipes"
SMALL = "--max_rows 36 --num_folds 2 --num_repeats 1"
BY_GRADIENT = "--num_epochs 2 --batch_size 16 --learning_rate 3e-3"
DATA = {
    "image_classification": "--base_model builtin:digits-resnet --dataset builtin:digits_5to9",
    "sentiment": "--base_model builtin:tiny-bert --dataset builtin:reviews --max_length 32",
    "text_classification": "--base_model builtin:tiny-bert --dataset builtin:review_pairs --max_length 32",
    "ner": "--base_model builtin:tiny-bert --dataset builtin:mentions",
    "audio_classification": "--base_model builtin:tiny-wav2vec2 --dataset builtin:tones",
    "image_text_classification": "--base_model builtin:tiny-clip --dataset builtin:digit_texts",
}


def run_recipe(recipe, words):
    """Run a recipe but for its card, and without dropout, whose draws are a device's own."""
    from torch.nn import functional

    attention = functional.scaled_dot_product_attention
    with (
        patch.object(functional, "dropout", lambda x, *_, **__: x),
        patch.object(
            functional, "scaled_dot_product_attention", lambda *x, dropout_p=0, **more: attention(*x, **more)
        ),
        patch("hf_transfer.publish", lambda config: None),
        patch("sys.argv", [str(recipe), *words]),
        pytest.raises(SystemExit) as end,
    ):
        runpy.run_path(str(recipe), run_name="__main__")
    assert not end.value.code
