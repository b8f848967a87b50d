"""Paths of the kit on a pretend GPU: predictions are those of the processor."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from recipe_runs import BY_GRADIENT, DATA, RECIPES, SMALL, run_recipe

pytestmark = pytest.mark.device
IMAGE, TEXT, ENTITIES = "image_classification", "sentiment", "ner"
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
    "gradual": (IMAGE, "--trainable last:2 --schedule gradual --layer_decay 0.7 --final none"),
    "class weights": (IMAGE, "--trainable last:2 --class_weights balanced --label_smoothing 0.1"),
    "sgd": (IMAGE, "--trainable last:2 --optimizer sgd --final none"),
    "early stopping": (IMAGE, "--trainable last:2 --early_stopping --final none"),
    "soup, sealed rows": (IMAGE, "--trainable last:2 --final soup --sealed 0.2"),
    "texts, all": (TEXT, "--trainable all --final none"),
    "pairs": ("text_classification", "--trainable last:1 --final none"),
    "entities": (ENTITIES, "--trainable all --final none"),
    "entities, head": (ENTITIES, "--trainable head --final none"),
    "sounds": ("audio_classification", "--trainable head --head_solver gradient --final none"),
    "pictures with texts": ("image_text_classification", "--trainable head --final none"),
}  # fmt: skip


def predicted(run):
    """Outputs of each held-out row by its id and configuration, in one array a row."""
    rows = pq.read_table(run / "predictions.parquet").to_pylist()
    output = "logits" if "logits" in rows[0] else "predictions"
    keys = sorted(rows[0].keys() - {output}, key=str)
    rows.sort(key=lambda row: str([row[key] for key in keys]))
    return [row[output] for row in rows]


def assert_close(there, here, near=1e-5):
    assert len(there) == len(here)
    if isinstance(here[0][0], str):
        assert there == here
    else:
        np.testing.assert_allclose(np.concatenate(there), np.concatenate(here), rtol=near, atol=near)


@pytest.mark.parametrize("path", PATHS)
def test_predictions_are_those_of_the_processor(path, device, tmp_path):
    recipe, own = PATHS[path]
    words = f"{DATA[recipe]} {SMALL} {'' if path in ('lbfgs', 'ridge') else BY_GRADIENT} {own}".split()
    file = RECIPES / f"{recipe}.py"
    answer = device.call(run_recipe, str(file), [*words, "--output_dir", str(tmp_path / "there")])
    answer.checked()
    assert answer.counts["launches"]
    run_recipe(file, [*words, "--output_dir", str(tmp_path / "here")])
    near = 2e-4 if path == "probe" else 1e-5  # a solver stops where rounding lets it
    assert_close(predicted(tmp_path / "there"), predicted(tmp_path / "here"), near)
