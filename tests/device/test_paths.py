"""Paths of the kit on a pretend GPU: predictions are those of the processor."""

import re

import pytest
from datasets import Dataset
from recipe_runs import BY_GRADIENT, DATA, RECIPES, SMALL, assert_close, predicted, run_recipe
from target_rows import texts
from tiny_decoders import decoder

pytestmark = pytest.mark.device
IMAGE, TEXT, PAIRS, ENTITIES = "image_classification", "sentiment", "text_classification", "ner"
PATHS = {
    "pictures, replayed": (IMAGE, "--trainable last:2 --final none"),
    "pictures, not replayed": (IMAGE, "--trainable last:2 --no_replay --final none"),
    "pictures, cached views": (IMAGE, "--trainable last:2 --augmentation flip --cached_views 2 --final none"),
    "grid": (
        IMAGE,
        "--trainable head --head_solver gradient --learning_rates 1e-3,1e-2 --weight_decays 0,0.1",
    ),
    "lbfgs": (IMAGE, "--trainable head --head_solver lbfgs --final none"),
    "ridge": (IMAGE, "--trainable head --head_solver ridge --final none"),
    "probe": (IMAGE, "--trainable last:2 --head_start probe --final none"),
    "probe, sgd": (IMAGE, "--trainable last:2 --head_start probe --optimizer sgd --final none"),
    "gradual": (IMAGE, "--trainable last:2 --schedule gradual --layer_decay 0.7 --final none"),
    "class weights": (IMAGE, "--trainable last:2 --class_weights balanced --label_smoothing 0.1"),
    "sgd": (IMAGE, "--trainable last:2 --optimizer sgd --final none"),
    "early stopping": (IMAGE, "--trainable last:2 --early_stopping --final none"),
    "soup, sealed rows": (IMAGE, "--trainable last:2 --final soup --sealed 0.2"),
    "pictures, all, augmented": (IMAGE, "--trainable all --augmentation crop-flip --final none"),
    "lp-ft": (IMAGE, "--trainable last:2 --schedule lp-ft --final ensemble"),
    "micro batches": (IMAGE, "--trainable last:2 --no_replay --per_device_batch_size 5 --final refit"),
    "from scratch": (IMAGE, "--trainable all --from_scratch --final none"),
    "learning curve": (IMAGE, "--trainable head --head_solver gradient --learning_curve --final none"),
    "texts, all": (TEXT, "--trainable all --final none"),
    "pairs": (PAIRS, "--trainable last:1 --final none"),
    "entities": (ENTITIES, "--trainable all --final none"),
    "entities, head": (ENTITIES, "--trainable head --final none"),
    "sounds": ("audio_classification", "--trainable head --head_solver gradient --final none"),
    "pictures with texts": ("image_text_classification", "--trainable head --final none"),
    "texts, head": (TEXT, "--trainable head --head_solver gradient --final none"),
    "lora": (TEXT, "--trainable head+lora --final refit"),
    "decoder": (TEXT, "--trainable last:1 --base_model {decoder} --max_length 16 --final none"),
    "numbers": (PAIRS, "--trainable last:1 --dataset {numbers} --final none"),
    "label sets": (PAIRS, "--trainable last:1 --dataset {label_sets} --final none"),
}  # fmt: skip
HALF = {
    "bf16, replayed": (TEXT, "--trainable last:1 --mixed_precision bf16 --final none"),
    "fp16": (IMAGE, "--trainable last:2 --mixed_precision fp16 --final none"),
}  # fmt: skip
BFLOAT = {"pictures": (IMAGE, 1e-5), "texts": (TEXT, 2e-3)}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Files that the paths name."""
    folder = tmp_path_factory.mktemp("made")
    found = {"decoder": decoder("qwen2", folder / "decoder")}
    for target in ("numbers", "label_sets"):
        found[target] = str(folder / f"{target}.jsonl")
        Dataset.from_dict(texts(target)).to_json(found[target])
    return found


def compared(device, folder, recipe, there, here, near):
    """Run a recipe on the device and on the processor, by the words of each; compare what they predict."""
    file = RECIPES / f"{recipe}.py"
    answer = device.call(run_recipe, str(file), [*there.split(), "--output_dir", str(folder / "there")])
    answer.checked()
    assert answer.counts["launches"]
    run_recipe(file, [*here.split(), "--output_dir", str(folder / "here")])
    assert_close(predicted(folder / "there"), predicted(folder / "here"), near)


@pytest.mark.parametrize("path", PATHS)
def test_predictions_are_those_of_the_processor(path, device, made, tmp_path):
    recipe, own = PATHS[path]
    words = f"{DATA[recipe]} {SMALL} {'' if path in ('lbfgs', 'ridge') else BY_GRADIENT} {own.format(**made)}"
    # From a solved head many gradients are near 0. At update 1 they agree to 3e-8, but Adam divides each by
    # its own size, and weights part by 1e-5, 0.4 % of an update; by SGD predictions agree to 4e-7.
    near = 2e-4 if path == "probe" else 1e-5
    compared(device, tmp_path, recipe, words, words, near)


@pytest.mark.parametrize("path", HALF)
def test_half_precision_is_near_to_single_precision(path, device, tmp_path):
    recipe, own = HALF[path]
    words = f"{DATA[recipe]} {SMALL} {BY_GRADIENT} {own}"
    compared(device, tmp_path, recipe, words, re.sub("--mixed_precision [a-z0-9]*", "", words), 0.05)


@pytest.mark.parametrize("inputs", BFLOAT)
def test_what_all_layers_learn_in_bfloat16_is_what_they_learn_in_it_on_the_processor(
    inputs, device, tmp_path
):
    """Not what they learn in single precision, which on pictures is as far from both: up to 0.41 of a logit.

    There gradients of the first update are 2 % off, and those of the second, after Adam, 24 %. For texts the
    processor keeps other operations in single precision than other devices: gradients are 0.2 % off.
    """
    recipe, near = BFLOAT[inputs]
    words = f"{DATA[recipe]} {SMALL} {BY_GRADIENT} --trainable all --mixed_precision bf16 --final none"
    compared(device, tmp_path, recipe, words, words, near)
