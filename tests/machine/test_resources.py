from pathlib import Path

import pytest

from hf_transfer.errors import ConfigError
from hf_transfer.machine import resources
from hf_transfer.tasks import all_tasks


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


def test_each_task_of_the_kit_has_a_card_named_as_on_the_hub() -> None:
    names = {path.stem for path in resources.model_cards_folder().glob("[!_]*.md")}
    assert names == {task.name for task in all_tasks()}
