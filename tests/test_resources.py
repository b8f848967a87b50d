from pathlib import Path

import jinja2
import pytest

from hf_transfer import resources
from hf_transfer.errors import ConfigError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "somewhere" / "hf_transfer"
    folder.mkdir(parents=True)
    monkeypatch.setattr(resources, "_PACKAGE", folder)
    return folder


def test_a_checkout_keeps_them_beside_the_package(package: Path) -> None:
    (package.parent / "recipes").mkdir()
    (package.parent / "pyproject.toml").touch()
    assert resources.recipes_folder() == package.parent / "recipes"


def test_a_wheel_keeps_them_inside_the_package_even_where_a_checkout_is(package: Path) -> None:
    for folder in (package / "_model_cards", package.parent / "model_cards"):
        folder.mkdir()
    (package.parent / "pyproject.toml").touch()
    assert resources.model_cards_folder() == package / "_model_cards"


def test_a_foreign_folder_in_site_packages_is_not_taken_for_ours(package: Path) -> None:
    (package.parent / "recipes").mkdir()
    with pytest.raises(ConfigError, match=r"recipes are missing: neither .*_recipes nor .*pip install"):
        resources.recipes_folder()


def test_recipes_are_found_by_name_with_either_dash(package: Path) -> None:
    (package / "_recipes").mkdir()
    for name in ("image_classification.py", "ner.py", "ner.yaml", "_shared.py"):
        (package / "_recipes" / name).touch()
    assert resources.recipe_names() == ["image_classification", "ner"]
    for name in ("image-classification", "image_classification", "image_classification.py"):
        assert resources.recipe_path(name) == package / "_recipes" / "image_classification.py"


def test_an_unknown_recipe_suggests_the_nearest(package: Path) -> None:
    (package / "_recipes").mkdir()
    (package / "_recipes" / "sentiment.py").touch()
    with pytest.raises(
        ConfigError, match=r"no recipe 'sentimnt'\. Did you mean 'sentiment'\? .* are sentiment"
    ):
        resources.recipe_path("sentimnt")


def test_each_task_of_the_kit_has_a_card_named_as_on_the_hub() -> None:
    names = {path.stem for path in resources.model_cards_folder().glob("[!_]*.md")}
    assert names == {"image-classification", "text-classification", "token-classification"}


@pytest.mark.parametrize("task", ["audio-classification", "_base", "../README"])
def test_a_task_without_a_card_is_refused(task: str) -> None:
    with pytest.raises(ConfigError, match=r"no model card for the task .* There is one for image-class"):
        resources.card_template(task)


def test_a_card_is_filled_strictly() -> None:
    with pytest.raises(jinja2.UndefinedError, match="is undefined"):
        resources.card_template("text-classification").render()
