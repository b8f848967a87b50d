"""How often the host waits for the device in an update: each time the device falls idle."""

from unittest.mock import patch

import pytest
from recipe_runs import BY_GRADIENT, DATA, RECIPES, SMALL, run_recipe

pytestmark = pytest.mark.device


def waits_of_updates(module, function, recipe, words):
    """Run a recipe; give the kinds of waits of each call of a method that makes one update."""
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
        run_recipe(recipe, words)
    return found


LOOP = ("hf_transfer.training.loop", "Loop._update")
HEADS = ("hf_transfer.training.heads.program", "Program._update")


@pytest.mark.parametrize(
    ("method", "recipe", "own", "most"),
    [
        (LOOP, "sentiment", "--trainable last:1", 1),
        (LOOP, "image_classification", "--trainable all", 0),
        (HEADS, "image_classification", "--trainable head --head_solver gradient", 3),
    ],
    ids=["text", "pictures", "heads"],
)
def test_an_update_seldom_waits(method, recipe, own, most, device, tmp_path):
    words = f"{DATA[recipe]} {SMALL} {BY_GRADIENT} {own} --final none --output_dir {tmp_path}/run".split()
    file = str(RECIPES / f"{recipe}.py")
    updates = device.call(waits_of_updates, *method, file, words).checked()
    assert len(updates) > 2
    for waits in updates[1:]:  # the first also moves what stays on the device
        assert sum(waits.values()) <= most, waits
