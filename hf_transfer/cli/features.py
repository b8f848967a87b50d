"""`hf-transfer features`: compute a base model's features of one shard of a data set."""

import argparse
from dataclasses import asdict, replace
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cli.verb import add_kind, add_verb, show


def add_features(verbs: Any) -> None:
    """Add `features` to the command line."""
    help = "compute a base model's features of one shard of a data set; settings may follow"
    parser = add_verb(verbs, "features", _features, help, takes_settings=True)
    parser.add_argument("data", help="labelled data, what --dataset takes")
    parser.add_argument(
        "--shard", default="0/1", metavar="I/N", help="which, from 0/N to N-1/N; all rows when not given"
    )
    add_kind(parser)


def _features(options: argparse.Namespace) -> int:
    from hf_transfer.cluster.features import write_shard
    from hf_transfer.config.parts import part_problem
    from hf_transfer.config.run_config import RunConfig
    from hf_transfer.errors import ConfigError

    problems = part_problem(options.shard, "shard")
    if problems:
        raise ConfigError(problems[0])
    defaults = replace(RunConfig(), dataset=options.data, output_dir="runs/features")
    config = RunConfig.from_args(defaults, options.settings)
    shard = write_shard(config, options.shard, kind=options.kind)
    how = "was there already" if shard.found else "is written"
    left = f"{len(shard.lacking)} shards are still to come." if shard.lacking else "All shards are there."
    show(
        options, (asdict(shard), f"{shard.path} {how}: {shard.rows:,} rows of {shard.width} numbers. {left}")
    )
    return 0
