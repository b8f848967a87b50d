"""`hf-transfer shots`: what a few labelled rows a class are worth."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cli.verb import add_kind, add_verb, read_settings, show
from hf_transfer.errors import ConfigError


def add_shots(verbs: Any) -> None:
    """Add `shots` to the command line."""
    help = "show what a few labelled rows a class score, and how far one draw of them is off"
    parser = add_verb(verbs, "shots", _shots, help, takes_settings=True)
    parser.add_argument(
        "dataset", help="what --dataset takes; other settings follow, such as --base_model, --output_dir"
    )
    parser.add_argument(
        "--shots", default="1,2,4,8,16", metavar="N,N", help="rows of each class to learn from"
    )
    parser.add_argument("--draws", type=int, default=200, metavar="N", help="how often to draw each number")
    parser.add_argument(
        "--solver",
        default="auto",
        metavar="NAME",
        help="logistic (auto), centroid or ridge: of the main column",
    )
    parser.add_argument(
        "--episodes", type=int, default=600, metavar="N", help="as few-shot papers count; 0 for none"
    )
    parser.add_argument("--way", type=int, metavar="N", help="classes of an episode; 5 when not given")
    parser.add_argument(
        "--setfit", action="store_true", help="of texts, train SetFit beside it (needs the extra setfit)"
    )
    parser.add_argument(
        "--setfit_draws", type=int, default=5, metavar="N", help="how many draws of each number train SetFit"
    )
    add_kind(parser)


def _shots(options: argparse.Namespace) -> int:
    from hf_transfer.cluster.doors import placing_of
    from hf_transfer.config.run_config import RunConfig
    from hf_transfer.runs.schema import to_json
    from hf_transfer.transfer.shots import ShotOptions, run_shots

    defaults = replace(RunConfig(), dataset=options.dataset, output_dir="runs/shots")
    config = read_settings(options, defaults)
    wanted = ShotOptions(
        shots=_numbers(options.shots),
        num_draws=options.draws,
        solver=options.solver,
        num_episodes=options.episodes,
        way=options.way,
        setfit=options.setfit,
        setfit_draws=options.setfit_draws,
    )
    folder = Path(config.output_dir)
    record = run_shots(config, wanted, kind=options.kind, engine=placing_of(config))
    files = f"The curve: {folder / 'shots.png'}. All figures: {folder / 'shots.json'}."
    show(options, (to_json(record), f"{record.to_text()}\n\n{files}"))
    return 0


def _numbers(words: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in words.split(","))
    except ValueError:
        raise ConfigError(
            f"--shots {words!r} is not whole numbers with commas, such as 1,2,4,8,16."
        ) from None
