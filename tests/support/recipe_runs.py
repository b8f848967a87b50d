"""Small runs of each recipe and verb, within this process."""

import io
import json
import runpy
import sys
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow.parquet as pq
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


@contextmanager
def without_dropout():
    """Let nothing drop out, as its draws are a device's own."""
    from torch.nn import functional

    attention = functional.scaled_dot_product_attention
    with (
        patch.object(functional, "dropout", lambda x, *_, **__: x),
        patch.object(
            functional, "scaled_dot_product_attention", lambda *x, dropout_p=0, **more: attention(*x, **more)
        ),
    ):
        yield


def run_recipe(recipe, words):
    """Run a recipe but for its card, and without dropout."""
    with (
        without_dropout(),
        patch("hf_transfer.publish", lambda config: None),
        patch("sys.argv", [str(recipe), *words]),
        pytest.raises(SystemExit) as end,
    ):
        runpy.run_path(str(recipe), run_name="__main__")
    assert not end.value.code


def run_verb(words):
    """Run a verb without dropout, and without a card; give what it prints as JSON."""
    from hf_transfer.cli.main import main

    printed = io.StringIO()
    with (
        without_dropout(),
        redirect_stdout(printed),
        patch("hf_transfer.report.publish.publish", lambda *_, **__: None),
    ):
        assert main([*words, "--json"]) == 0
    return json.loads(printed.getvalue())


def predicted(run):
    """Outputs of each held-out row by its id and configuration, in one array a row."""
    rows = pq.read_table(run / "predictions.parquet").to_pylist()
    output = next(name for name in ("logits", "predictions", "prediction") if name in rows[0])
    keys = sorted(rows[0].keys() - {output}, key=str)
    rows.sort(key=lambda row: str([row[key] for key in keys]))
    return [np.atleast_1d(row[output]).tolist() for row in rows]


def assert_close(there, here, near=1e-5):
    assert len(there) == len(here)
    if isinstance(here[0][0], str):
        assert there == here
    else:
        np.testing.assert_allclose(np.concatenate(there), np.concatenate(here), rtol=near, atol=near)


if __name__ == "__main__":  # one of several processes that a launcher has started
    run_recipe(sys.argv[1], sys.argv[2:])
