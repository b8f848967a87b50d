"""`hf-transfer search`: find which layers to train, and at which learning rate."""

import argparse
from dataclasses import asdict, replace
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cli.recipes import load_recipe
from hf_transfer.cli.verb import add_verb, show


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


def _search(options: argparse.Namespace) -> int:
    from hf_transfer.report.publish import publish
    from hf_transfer.runs.hub.push import preflight
    from hf_transfer.runs.schema import to_json
    from hf_transfer.selection.search.asking import ask_hours, can_ask
    from hf_transfer.selection.search.cost import cost_text
    from hf_transfer.selection.search.report import search_text
    from hf_transfer.selection.search.run import SearchOptions, open_study, predict_cost, search

    wanted = SearchOptions(options.mode, options.exhaustive, options.max_hours)
    config, task, data = load_recipe(options.recipe, options.settings)
    if options.dry_run:
        cost = predict_cost(open_study(task, data, config), wanted)
        show(options, (asdict(cost), cost_text(cost)))
        return 0
    preflight(config)
    if options.max_hours is None and can_ask():
        cost = predict_cost(open_study(task, data, config), wanted)
        wanted = replace(wanted, max_hours=ask_hours(cost))
    found = search(task, data, config, wanted)
    if found.judged:
        publish(config, quiet=options.json)
    show(options, (to_json(found), search_text(config.output_dir, found)))
    return 0
