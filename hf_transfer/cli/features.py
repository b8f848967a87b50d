"""`hf-transfer features`: compute a base model's features of a data set, or of one shard of it."""

import argparse
from dataclasses import asdict, replace
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cli.verb import add_kind, add_verb, read_settings, show
from hf_transfer.errors import ConfigError


def add_features(verbs: Any) -> None:
    """Add `features` to the command line."""
    help = "compute a base model's features of a data set, or of one shard of it; settings may follow"
    parser = add_verb(verbs, "features", _features, help, takes_settings=True)
    parser.add_argument("data", help="labelled data, what --dataset takes")
    parser.add_argument("--shard", metavar="I/N", help="which, from 0/N to N-1/N; all rows when not given")
    parser.add_argument(
        "--shards",
        type=int,
        metavar="N",
        help="with --engine ray: pieces of work in all; one for every 4,096 rows when not given",
    )
    add_kind(parser)


def _features(options: argparse.Namespace) -> int:
    from hf_transfer.cluster.doors import placing_of
    from hf_transfer.cluster.features import write_shard, write_shards
    from hf_transfer.config.run_config import RunConfig

    defaults = replace(RunConfig(), dataset=options.data, output_dir="runs/features")
    config = read_settings(options, defaults)
    _check(options, config.engine)
    engine = placing_of(config)
    if engine is None:
        shard = write_shard(config, options.shard or "0/1", kind=options.kind)
    else:
        shard = write_shards(config, engine.carrier, options.shards, kind=options.kind)
    how = "was there already" if shard.found else "is written"
    left = f"{len(shard.lacking)} shards are still to come." if shard.lacking else "All shards are there."
    show(
        options, (asdict(shard), f"{shard.path} {how}: {shard.rows:,} rows of {shard.width} numbers. {left}")
    )
    return 0


def _check(options: argparse.Namespace, engine: str) -> None:
    """Stop where the flags of shards do not go together, or not with the engine.

    Raises:
        ConfigError: Saying which to leave out.
    """
    from hf_transfer.config.parts import part_problem

    if engine == "ray" and options.shard is not None:
        raise ConfigError(
            f"--shard {options.shard} computes one shard in this process, and --engine ray all. Leave one of "
            "them out; --shards N says how many there are."
        )
    if engine == "here" and options.shards is not None:
        raise ConfigError(
            f"--shards {options.shards} is for --engine ray. Add it, or give --shard 0/{options.shards} for "
            "the first here."
        )
    if options.shards is not None and options.shards < 1:
        raise ConfigError(f"--shards {options.shards} is too small; use 1 or more.")
    if options.shard is not None and (problems := part_problem(options.shard, "shard")):
        raise ConfigError(problems[0])
