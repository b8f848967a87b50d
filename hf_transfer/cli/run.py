"""`hf-transfer run`: run a recipe of the kit by its name."""

import argparse
import runpy
import sys
from collections.abc import Sequence
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cli.recipes import recipe_config, recipe_names, recipe_path
from hf_transfer.cli.verb import add_verb

_PRINTED = {
    "--print_slurm": "a script for sbatch that trains the folds side by side",
    "--print_hf_job": "the line that runs it as a job of the Hub",
}


def add_run(verbs: Any) -> None:
    """Add `run` to the command line."""
    help = "run a recipe; what follows its name are its settings"
    parser = add_verb(verbs, "run", _run, help, takes_settings=True)
    parser.add_argument("recipe", nargs="?", help="its name, e.g. sentiment; left out, the names are listed")
    for flag, what in _PRINTED.items():
        parser.add_argument(flag, action="store_true", help=f"print {what}, and run nothing")


def _run(options: argparse.Namespace) -> int:
    if options.recipe is None:
        print("\n".join(recipe_names()))
        return 0
    path = recipe_path(options.recipe)
    wanted = [word for word in options.settings if word.replace("-", "_").replace("__", "--", 1) in _PRINTED]
    if wanted:
        settings = [word for word in options.settings if word not in wanted]
        print(_text(wanted[0], options.recipe, settings).rstrip())
        return 0
    sys.argv = [str(path), *options.settings]
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def _text(flag: str, recipe: str, settings: Sequence[str]) -> str:
    """What one of the flags that print asks for."""
    from hf_transfer.cluster.printing import hf_job_line, slurm_script

    write = slurm_script if "slurm" in flag else hf_job_line
    return write(recipe, settings, recipe_config(recipe, settings))
