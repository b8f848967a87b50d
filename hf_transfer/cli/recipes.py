"""Find recipes by name, and open a recipe's task and data without running it."""

import difflib
import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError
from hf_transfer.machine.resources import recipes_folder

if TYPE_CHECKING:
    from hf_transfer.config.run_config import RunConfig
    from hf_transfer.data.labelled import LabelledData
    from hf_transfer.tasks.task import Task


def load_recipe(
    recipe: str, words: Sequence[str], settings: Mapping[str, Any] | None = None
) -> "tuple[RunConfig, Task, LabelledData]":
    """Read a recipe's defaults and task, and open the data set that the settings name.

    Args:
        recipe: A recipe of the kit by its name, or a recipe's file.
        words: Settings as on its command line.
        settings: Others, by name.

    Raises:
        ConfigError: If it is no recipe: it must define DEFAULTS, a `RunConfig`, and import one task.
    """
    from hf_transfer.config.run_config import RunConfig
    from hf_transfer.data.opening import open_dataset

    path = Path(recipe) if recipe.endswith(".py") and Path(recipe).is_file() else recipe_path(recipe)
    found = runpy.run_path(str(path), run_name="recipe")
    tasks: set[Any] = {value for value in found.values() if isinstance(value, type) and _is_task(value)}
    defaults: Any = found.get("DEFAULTS")
    if not isinstance(defaults, RunConfig) or len(tasks) != 1:
        raise ConfigError(
            f"{path} is no recipe to search by: it must define DEFAULTS, a RunConfig, and import one task "
            f"such as ImageClassification; it has {len(tasks)}."
        )
    (task,) = tasks
    config = defaults.from_args(defaults.changed(settings or {}), words)
    data = open_dataset(config, task)
    return config, data.task(config, data.target), data


def recipe_config(recipe: str, words: Sequence[str]) -> "RunConfig":
    """Read a recipe's defaults and the settings on top of them, and open nothing.

    Args:
        recipe: A recipe of the kit by its name.
        words: Settings as on its command line.

    Raises:
        ConfigError: If a setting is wrong.
    """
    from hf_transfer.config.run_config import RunConfig

    defaults: RunConfig = runpy.run_path(str(recipe_path(recipe)), run_name="recipe")["DEFAULTS"]
    return RunConfig.from_args(defaults, words)


def _is_task(value: Any) -> bool:
    return all(hasattr(value, name) for name in ("input", "targets", "encode", "collate"))


def recipe_names() -> list[str]:
    """List the recipes that `recipe_path` knows, in alphabetical order."""
    return sorted(path.stem for path in recipes_folder().glob("[!_]*.py"))


def recipe_path(name: str) -> Path:
    """Find a recipe by its name; `image-classification` and `image_classification` are the same.

    Raises:
        ConfigError: If there is no such recipe (with the nearest name).
    """
    stem = name.replace("-", "_").removesuffix(".py")
    names = recipe_names()
    if stem not in names:
        near = difflib.get_close_matches(stem, names, n=1)
        advice = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"There is no recipe {name!r}.{advice} The recipes are {', '.join(names)}.")
    return recipes_folder() / f"{stem}.py"
