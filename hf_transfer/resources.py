"""Where recipes and card templates live: beside the package in a checkout, inside it in a wheel."""

import difflib
import json
from functools import cache
from pathlib import Path

import jinja2
from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from hf_transfer import _guard, tables  # noqa: F401
from hf_transfer.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent


def recipes_folder() -> Path:
    """Give the folder of the recipes and their YAML presets."""
    return _folder("recipes")


def model_cards_folder() -> Path:
    """Give the folder of the model card templates, one file a Hub task id."""
    return _folder("model_cards")


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


def card_template(task: str) -> jinja2.Template:
    """Open the model card of a task, to be filled strictly: every value is escaped, none may be absent.

    Args:
        task: The Hub's id of it, such as `text-classification`.

    Raises:
        ConfigError: If there is no template for the task.
    """
    folder = model_cards_folder()
    known = sorted(path.stem for path in folder.glob("[!_]*.md"))
    if task not in known:
        raise ConfigError(
            f"There is no model card for the task {task!r}. There is one for {', '.join(known)}."
        )
    return _environment(folder).get_template(f"{task}.md")


@cache
def _environment(folder: Path) -> jinja2.Environment:
    """The environment of all cards; a template that it has compiled is compiled again only if it changes."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        finalize=tables.escape,
        autoescape=True,  # marks what filters and macros made, so that `finalize` sees the rest only
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "code": tables.code, "count": "{:,}".format, "duration": tables.duration, "fence": tables.fence,
        "fold_name": tables.fold_name, "interval": tables.interval, "listing": tables.listing,
        "literal": lambda text: Markup(json.dumps(text, ensure_ascii=False)), "number": tables.number,
        "metric": pass_context(_metric_name), "plus_minus": tables.plus_minus,
        "behind": tables.behind, "conservative": tables.conservative,
        "setting": tables.setting, "share": "{:.3g}".format,
    }  # fmt: skip
    return environment


def _metric_name(context: Context, name: str) -> str:
    return tables.metric_name(name, context["task"])


def _folder(name: str) -> Path:
    installed, checkout = _PACKAGE / f"_{name}", _PACKAGE.parent / name
    if installed.is_dir():
        return installed
    # Without our pyproject.toml this is site-packages, where `recipes` would be somebody else's.
    if checkout.is_dir() and (_PACKAGE.parent / "pyproject.toml").is_file():
        return checkout
    raise ConfigError(
        f"The kit's {name} are missing: neither {installed} nor a checkout's {checkout} is there. "
        "Install it again: `pip install --force-reinstall --no-deps hf-transfer-kit`."
    )
