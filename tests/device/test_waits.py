"""How often the host waits for the device in an update: each time the device falls idle."""

from unittest.mock import patch

import pytest
from recipe_runs import BY_GRADIENT, DATA, RECIPES, SMALL, run_recipe, run_verb

pytestmark = pytest.mark.device


def waits_of_calls(module, function, run, words):
    """Run a recipe, or a verb; give the kinds of waits of each call of a method."""
    import importlib

    import sitecustomize

    owner, name = function.split(".")
    kind = getattr(importlib.import_module(module), owner)
    original, found = getattr(kind, name), []

    def counted(*given, **named):
        before = sitecustomize.library.counts()
        result = original(*given, **named)
        after = sitecustomize.library.counts()
        waits = {k: n - before.get(k, 0) for k, n in after.items() if k.startswith("wait:")}
        found.append({k: n for k, n in waits.items() if n})
        return result

    with patch.object(kind, name, counted):
        run_verb(words) if run == "verb" else run_recipe(run, words)
    return found


def waits_of_passes(folder, *given):
    """The same, with nothing stored yet, 8 rows a pass, and replay however long it takes to read."""
    import datasets

    from hf_transfer.replay.batching import Batches
    from hf_transfer.replay.replayed import Replay

    datasets.config.HF_DATASETS_CACHE = folder
    with (
        patch.object(Batches, "rows_a_pass", 8),
        patch.object(Replay, "_not_worth", lambda *_: None),
    ):
        return waits_of_calls(*given)


LOOP = ("hf_transfer.training.loop", "Loop._update")
HEADS = ("hf_transfer.training.heads.program", "Program._update")


@pytest.mark.parametrize(
    ("method", "recipe", "own", "most"),
    [
        (LOOP, "sentiment", "--trainable last:1", 1),
        (LOOP, "image_classification", "--trainable all", 0),
        (HEADS, "image_classification", "--trainable head --head_solver gradient", 0),
    ],
    ids=["text", "pictures", "heads"],
)
def test_an_update_seldom_waits(method, recipe, own, most, device, tmp_path):
    words = f"{DATA[recipe]} {SMALL} {BY_GRADIENT} {own} --final none --output_dir {tmp_path}/run".split()
    file = str(RECIPES / f"{recipe}.py")
    updates = device.call(waits_of_calls, *method, file, words).checked()
    assert len(updates) > 2
    for waits in updates[1:]:  # the first also moves what stays on the device
        assert sum(waits.values()) <= most, waits


def test_the_output_of_frozen_layers_is_stored_with_one_wait_for_many_batches(device, tmp_path):
    words = f"{DATA['image_classification']} {SMALL} {BY_GRADIENT} --trainable last:1 --final none".split()
    fill = ("hf_transfer.replay.stores", "Stores._fill", str(RECIPES / "image_classification.py"))
    words += ["--output_dir", str(tmp_path / "run")]
    (waits,) = device.call(waits_of_passes, str(tmp_path / "cache"), *fill, words).checked()
    assert waits == {"wait:synchronize": 1}  # for 5 batches


def test_features_of_all_groups_take_one_wait_a_batch(device, tmp_path):
    words = f"rank builtin:digits_5to9 builtin:digits-resnet {SMALL} --learning_curve false".split()
    words += ["--output_dir", str(tmp_path / "rank")]
    made = ("hf_transfer.replay.features.stored", "StoredFeatures._made", "verb")
    for waits in device.call(waits_of_passes, str(tmp_path / "cache"), *made, words).checked():
        assert waits == {"wait:copy to the host": 5}  # a batch, and not a group, each
