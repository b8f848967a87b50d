"""Recipes, run as a person runs them."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import hf_transfer

ROOT = Path(hf_transfer.__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*.py"))
BUILT_IN = {
    "audio_classification": ["--base_model", "builtin:tiny-wav2vec2", "--dataset", "builtin:tones"],
    "image_classification": ["--base_model", "builtin:digits-resnet", "--dataset", "builtin:digits_5to9"],
    "image_text_classification": [
        "--base_model",
        "builtin:tiny-clip",
        "--dataset",
        "builtin:digit_texts",
    ],
    "ner": ["--base_model", "builtin:tiny-bert", "--dataset", "builtin:mentions"],
    "sentiment": ["--base_model", "builtin:tiny-bert", "--dataset", "builtin:reviews"],
    "text_classification": ["--base_model", "builtin:tiny-bert", "--dataset", "builtin:reviews"],
}
QUICK = ("image_classification", "sentiment")  # what the others do is in the tests of their tasks
SMALL = ["--max_rows", "40", "--num_folds", "2", "--num_epochs", "1", "--learning_rate", "1e-3"]


def test_every_recipe_is_tested():
    assert [path.stem for path in RECIPES] == sorted(BUILT_IN)


@pytest.mark.parametrize(
    "recipe",
    [p if p.stem in QUICK else pytest.param(p, marks=pytest.mark.slow) for p in RECIPES],
    ids=lambda path: path.stem,
)
def test_a_recipe_goes_from_its_command_to_a_card(recipe, tmp_path, monkeypatch, capsys):
    words = [str(recipe), *BUILT_IN[recipe.stem], *SMALL, "--output_dir", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(recipe), run_name="__main__")
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert "mean ± std" in shown
    assert str(tmp_path / "run" / "README.md") in shown
    card = (tmp_path / "run" / "README.md").read_text()
    mean = json.loads((tmp_path / "run" / "results.json").read_text())["scores"]
    assert f"{mean['accuracy']['mean']:.3f}" in card
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_without_a_hub_a_recipe_names_the_line_to_type(recipe, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(recipe)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(recipe), run_name="__main__")
    assert end.value.code == 3
    model, data = BUILT_IN[recipe.stem][1], BUILT_IN[recipe.stem][3].split("_")[0]
    assert f"--base_model {model} --dataset {data}" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_reads_as_a_paragraph(recipe):
    assert len(recipe.read_text().splitlines()) <= 60


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_several_processes_find_what_one_finds(recipe, processes, tmp_path):
    words = [
        str(recipe),
        *BUILT_IN[recipe.stem],
        *SMALL,
        "--num_folds",
        "3",
        "--output_dir",
    ]
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--config_file",
        str(ROOT / "accelerate_config.yaml"),
    ]
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    for folder, count in (("one", 1), ("many", processes)):
        command = [*launch, "--num_processes", str(count), *words, str(tmp_path / folder)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
        assert done.returncode == 0, done.stderr
    one, many = (tmp_path / folder / "predictions.parquet" for folder in ("one", "many"))
    assert one.read_bytes() == many.read_bytes()


@pytest.mark.slow
def test_heads_are_found_when_all_processes_share_every_batch(tmp_path):
    words = [str(ROOT / "recipes" / "image_classification.py"), *BUILT_IN["image_classification"], *SMALL]
    words += ["--trainable", "head", "--num_folds", "3", "--parallel", "data", "--output_dir"]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file"]
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    for count in ("1", "2"):
        command = [*launch, str(ROOT / "accelerate_config.yaml"), "--num_processes", count, *words]
        command.append(str(tmp_path / count))
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
        assert done.returncode == 0, done.stderr
    one, two = (tmp_path / count / "predictions.parquet" for count in ("1", "2"))
    assert one.read_bytes() == two.read_bytes()
