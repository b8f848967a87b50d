"""`hf-transfer combine`: whether several base models are better together than the best alone."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cli.verb import add_kind, add_repeats, add_verb, read_settings, show


def add_combine(verbs: Any) -> None:
    """Add `combine` to the command line."""
    help = "show whether several base models are better together than the best alone, and publish what is"
    parser = add_verb(verbs, "combine", _combine, help, takes_settings=True)
    parser.add_argument(
        "dataset",
        help="what --dataset takes; other settings may follow, such as --max_rows, --num_folds, --output_dir",
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="what --base_model takes, two or more")
    parser.add_argument(
        "--combine", default="pick", metavar="WAY", help="pick (the best alone), mean, greedy, nnls or concat"
    )
    parser.add_argument(
        "--judge_only", action="store_true", help="write combine.json only, and make no model to publish"
    )
    add_kind(parser)
    add_repeats(parser)


def _combine(options: argparse.Namespace) -> int:
    from hf_transfer.cluster.doors import placing_of
    from hf_transfer.config.run_config import RunConfig
    from hf_transfer.runs.combine_record import COMBINE_FILE
    from hf_transfer.runs.schema import to_json
    from hf_transfer.transfer.combining import run_combine

    defaults = replace(RunConfig(), dataset=options.dataset, output_dir="runs/combine", trainable="head")
    config = read_settings(options, defaults)
    record = run_combine(
        config,
        options.models,
        options.combine,
        judge_only=options.judge_only,
        kind=options.kind,
        num_repeats=options.num_repeats,
        engine=placing_of(config),
    )
    files = f"All figures: {Path(config.output_dir) / COMBINE_FILE}."
    show(options, (to_json(record), f"{record.to_text()}\n\n{files}"))
    return 0
