"""`hf-transfer adapt`: adapt a head to another domain, and publish it if it is better there."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cli.verb import add_kind, add_verb, read_settings, show


def add_adapt(verbs: Any) -> None:
    """Add `adapt` to the command line."""
    help = "adapt a head to another domain, and publish it if labelled rows show that it is better there"
    parser = add_verb(verbs, "adapt", _adapt, help, takes_settings=True)
    parser.add_argument(
        "dataset",
        metavar="SOURCE",
        help="labelled rows: what --dataset takes; settings may follow, such as --base_model, --output_dir",
    )
    parser.add_argument("target", metavar="TARGET", help="the other domain, with or without labels")
    parser.add_argument("--target_split", metavar="NAME", help="which split of the target to use")
    add_kind(parser)
    parser.add_argument(
        "--labels", metavar="FILE", help="target rows with labels, as `shift --label_target` draws them"
    )
    parser.add_argument(
        "--arms",
        metavar="A,B",
        help="which to try, of z-score, coral, prototypes, labels-in-training and labels-alone (these five "
        "unless given), dann and mcc; with --trainable last:N or all, dann, mcc and the source alone train "
        "layers of the backbone",
    )
    parser.add_argument(
        "--split_target", action="store_true", help="keep labelled rows out of what arms learn from"
    )
    parser.add_argument(
        "--domain_column",
        metavar="NAME",
        help="of the source: try arms on its own domains, and take the best",
    )


def _adapt(options: argparse.Namespace) -> int:
    from hf_transfer.cluster.doors import placing_of
    from hf_transfer.config.run_config import RunConfig
    from hf_transfer.report.words.adapt import adapt_text
    from hf_transfer.runs.schema import to_json
    from hf_transfer.transfer.adapt_run import model_home, run_adapt
    from hf_transfer.transfer.adapting import USUAL, AdaptOptions

    defaults = replace(RunConfig(), dataset=options.dataset, output_dir="runs/adapt", trainable="head")
    config = read_settings(options, defaults)
    wanted = AdaptOptions(
        labels=options.labels,
        arms=USUAL if options.arms is None else tuple(options.arms.split(",")),
        split_target=options.split_target,
        domain_column=options.domain_column,
    )
    record = run_adapt(
        config,
        options.target,
        wanted,
        target_split=options.target_split,
        kind=options.kind,
        engine=placing_of(config),
    )
    folder = Path(config.output_dir)
    files = f"The model: {model_home(folder) / 'model'}. All figures: {folder / 'adapt.json'}."
    show(options, (to_json(record), f"{adapt_text(record)}\n\n{files}"))
    return 0
