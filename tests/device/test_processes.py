"""Several processes on one pretend GPU, and on two."""

import os
import sys
from unittest.mock import patch

import pytest
import recipe_runs
from pretend_device import environment, why_not
from recipe_runs import BY_GRADIENT, DATA, RECIPES, SMALL, assert_close, predicted, run_recipe

from hf_transfer.machine.launcher import launch

pytestmark = pytest.mark.device


@pytest.mark.skipif(bool(why_not()), reason=why_not())
@pytest.mark.parametrize(("devices", "own"), [(1, "--folds_per_device 2"), (2, "--parallel folds")])
def test_folds_side_by_side_are_those_of_one_processor(devices, own, tmp_path):
    """Not tried is `parallel=data`: gradients meet on the devices, for which gloo has no way."""
    file = str(RECIPES / "image_classification.py")
    words = f"{DATA['image_classification']} {SMALL} {BY_GRADIENT} --trainable last:2 --final none".split()
    there = [*words, *own.split(), "--output_dir", str(tmp_path / "there")]
    with patch.dict(os.environ, environment(devices)):
        assert launch([sys.executable, recipe_runs.__file__, file, *there], 2) == 0
    run_recipe(file, [*words, "--output_dir", str(tmp_path / "here")])
    assert_close(predicted(tmp_path / "there"), predicted(tmp_path / "here"))
