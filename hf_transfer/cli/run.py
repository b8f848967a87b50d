"""`hf-transfer run`: run a recipe of the kit by its name."""

import argparse
import runpy
import sys
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cli.recipes import recipe_names, recipe_path
from hf_transfer.cli.verb import add_verb


def add_run(verbs: Any) -> None:
    """Add `run` to the command line."""
    help = "run a recipe; what follows its name are its settings"
    parser = add_verb(verbs, "run", _run, help, takes_settings=True)
    parser.add_argument("recipe", nargs="?", help="its name, e.g. sentiment; left out, the names are listed")


def _run(options: argparse.Namespace) -> int:
    if options.recipe is None:
        print("\n".join(recipe_names()))
        return 0
    path = recipe_path(options.recipe)
    sys.argv = [str(path), *options.settings]
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    return 0
