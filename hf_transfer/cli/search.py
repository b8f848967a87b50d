"""`hf-transfer search`: find which layers to train, and at which learning rate."""

import argparse
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cli.recipes import load_recipe
from hf_transfer.cli.verb import add_verb, show

if TYPE_CHECKING:
    from hf_transfer.config.run_config import RunConfig
    from hf_transfer.data.labelled import LabelledData
    from hf_transfer.runs.search_record import Search
    from hf_transfer.selection.search.cost import SearchCost
    from hf_transfer.selection.search.run import SearchOptions
    from hf_transfer.tasks.task import Task


def add_search(verbs: Any) -> None:
    """Add `search` to the command line."""
    help = "find which layers should learn and at which rate; settings may follow"
    parser = add_verb(verbs, "search", _search, help, takes_settings=True)
    parser.add_argument("recipe", help="its name, e.g. sentiment")
    parser.add_argument(
        "--mode",
        choices=("design-slice", "nested", "shared"),
        help="by which rows to choose; a slice from 1,000 rows on, else inside each fold",
    )
    parser.add_argument("--exhaustive", action="store_true", help="try everything under the real folds")
    parser.add_argument(
        "--max_hours",
        type=float,
        metavar="X",
        help="stop in good order when they are over; asked for in a terminal",
    )
    parser.add_argument("--dry_run", action="store_true", help="say what it would try, and what that costs")


def search(recipe: str, *, dry_run: bool = False, **settings: Any) -> "Search | SearchCost":
    """Find which layers should learn and at which rate, and score the choice by cross-validation.

    Args:
        recipe: A recipe of the kit by its name, or a recipe's file.
        dry_run: Say what would be tried, and what that costs.
        settings: `mode`, `exhaustive` and `max_hours` of the search, and settings of the recipe.

    Returns:
        The content of search.json, or with `dry_run` the cost.

    Raises:
        TransferError: As `cross_validate` does; or if the base model has nothing pretrained.
    """
    from hf_transfer.selection.search.run import SearchOptions

    names = {field.name for field in fields(SearchOptions)}
    wanted = SearchOptions(**{name: settings.pop(name) for name in names & settings.keys()})
    return _searched(load_recipe(recipe, (), settings), wanted, dry_run=dry_run)


def _searched(
    loaded: "tuple[RunConfig, Task, LabelledData]",
    wanted: "SearchOptions",
    *,
    dry_run: bool,
    quiet: bool = False,
    ask: bool = False,
) -> "Search | SearchCost":
    """Search, publish what was found, and write the card; or predict the cost of that."""
    from hf_transfer.cluster.doors import engine_of
    from hf_transfer.report.publish import publish
    from hf_transfer.runs.hub.push import preflight
    from hf_transfer.selection.search.asking import ask_hours, can_ask
    from hf_transfer.selection.search.run import open_study, predict_cost
    from hf_transfer.selection.search.run import search as find

    config, task, data = loaded
    if dry_run:
        return predict_cost(open_study(task, data, config), wanted)
    preflight(config)
    if ask and wanted.max_hours is None and can_ask():
        cost = predict_cost(open_study(task, data, config), wanted)
        wanted = replace(wanted, max_hours=ask_hours(cost))
    config, engine = engine_of(config)
    found = find(task, data, config, wanted, engine=engine)
    if found.judged:
        publish(config, quiet=quiet)
    return found


def _search(options: argparse.Namespace) -> int:
    from hf_transfer.runs.schema import to_json
    from hf_transfer.selection.search.cost import SearchCost, cost_text
    from hf_transfer.selection.search.report import search_text
    from hf_transfer.selection.search.run import SearchOptions

    wanted = SearchOptions(options.mode, options.exhaustive, options.max_hours)
    loaded = load_recipe(options.recipe, options.settings)
    found = _searched(loaded, wanted, dry_run=options.dry_run, quiet=options.json, ask=True)
    if isinstance(found, SearchCost):
        show(options, (asdict(found), cost_text(found)))
    else:
        show(options, (to_json(found), search_text(loaded[0].output_dir, found)))
    return 0
