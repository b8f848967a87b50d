"""`hf-transfer rank`: compare pretrained models as starting points for a data set."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cli.verb import add_kind, add_repeats, add_verb, read_settings, show
from hf_transfer.errors import ConfigError


def add_rank(verbs: Any) -> None:
    """Add `rank` to the command line."""
    help = "show which of some pretrained models is a good start for a data set"
    parser = add_verb(verbs, "rank", _rank, help, takes_settings=True)
    parser.add_argument(
        "dataset",
        help="what --dataset takes; other settings may follow, such as --max_rows, --num_folds, --output_dir",
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="what --base_model takes")
    add_kind(parser)
    add_repeats(parser)
    parser.add_argument(
        "--prior",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="what is known of a model beforehand, e.g. its accuracy on ImageNet; shown beside its score",
    )


def _rank(options: argparse.Namespace) -> int:
    from hf_transfer.cluster.doors import placing_of
    from hf_transfer.config.run_config import RunConfig
    from hf_transfer.selection.rank.words import ranking_text
    from hf_transfer.selection.rank.writing import run_ranking

    defaults = replace(RunConfig(), dataset=options.dataset, output_dir="runs/rank")
    config = read_settings(options, defaults)
    ranking, value = run_ranking(
        config,
        options.models,
        kind=options.kind,
        num_repeats=options.num_repeats,
        priors=read_priors(options.prior),
        engine=placing_of(config),
    )
    folder = Path(config.output_dir)
    files = f"Layer by layer: {folder / 'depth.png'}. All figures: {folder / 'rank.json'}."
    show(options, (value, f"{ranking_text(ranking)}\n\n{files}"))
    return 0


def read_priors(words: Sequence[str]) -> dict[str, float]:
    """Read NAME=VALUE words.

    Raises:
        ConfigError: If one is not.
    """
    found = {}
    for word in words:
        name, _, value = word.rpartition("=")
        try:
            found[name] = float(value)
        except ValueError:
            name = ""
        if not name:
            raise ConfigError(f"--prior {word!r} is not NAME=VALUE, such as resnet18=69.8.")
    return found
