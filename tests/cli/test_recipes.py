"""Recipes, found by their names."""

from pathlib import Path

import pytest

from hf_transfer.cli.recipes import recipe_names, recipe_path
from hf_transfer.errors import ConfigError
from hf_transfer.machine import resources


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "somewhere" / "hf_transfer"
    folder.mkdir(parents=True)
    monkeypatch.setattr(resources, "_PACKAGE", folder)
    return folder


def test_recipes_are_found_by_name_with_either_dash(package: Path) -> None:
    (package / "_recipes").mkdir()
    for name in ("image_classification.py", "ner.py", "ner.yaml", "_shared.py"):
        (package / "_recipes" / name).touch()
    assert recipe_names() == ["image_classification", "ner"]
    for name in ("image-classification", "image_classification", "image_classification.py"):
        assert recipe_path(name) == package / "_recipes" / "image_classification.py"


def test_an_unknown_recipe_suggests_the_nearest(package: Path) -> None:
    (package / "_recipes").mkdir()
    (package / "_recipes" / "sentiment.py").touch()
    with pytest.raises(
        ConfigError, match=r"no recipe 'sentimnt'\. Did you mean 'sentiment'\? .* are sentiment"
    ):
        recipe_path("sentimnt")
