"""Templates of model cards, one a task of the Hub, filled strictly."""

import json
from functools import cache
from pathlib import Path

import jinja2
from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError
from hf_transfer.machine.resources import model_cards_folder
from hf_transfer.machine.wording import (
    duration,
    fold_name,
    interval,
    number,
    plus_minus,
    setting,
)
from hf_transfer.report.card.markdown import code, escape, fence, listing
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.summary import behind, epochs_of
from hf_transfer.tasks import metric_name


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
        finalize=escape,
        autoescape=True,  # marks what filters and macros made, so that `finalize` sees the rest only
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "code": code, "count": "{:,}".format, "duration": duration, "fence": fence,
        "epochs": pass_context(epochs), "fold_name": pass_context(fold_title),
        "interval": interval, "listing": listing,
        "literal": lambda text: Markup(json.dumps(text, ensure_ascii=False)), "number": number,
        "metric": pass_context(_metric_name), "plus_minus": plus_minus,
        "behind": behind,
        "setting": setting, "share": "{:.3g}".format,
    }  # fmt: skip
    return environment


def fold_title(context: Context, fold: FoldResult) -> str:
    """Name a fold of the run that a template shows."""
    return fold_name(fold.repeat, fold.fold, context["num_repeats"])


def epochs(context: Context, fold: FoldResult) -> str:
    """Epochs of a fold of the run that a template shows."""
    return epochs_of(fold, solved=context["solved"])


def _metric_name(context: Context, name: str) -> str:
    return metric_name(name, context["task"])
