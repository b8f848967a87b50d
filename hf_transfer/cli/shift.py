"""`hf-transfer shift`: tell whether a second data set is another domain, and what a model will do there."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cli.verb import add_kind, add_verb, read_settings, show


def add_shift(verbs: Any) -> None:
    """Add `shift` to the command line."""
    help = "tell whether other data are another domain, and what a model will do there"
    parser = add_verb(verbs, "shift", _shift, help, takes_settings=True)
    parser.add_argument(
        "source",
        help="labelled data, what --dataset takes; settings may follow, such as --base_model, --max_rows, "
        "--group_by, --output_dir",
    )
    parser.add_argument("target", help="the other data: the same, a folder of files, or a .txt of lines")
    add_kind(parser)
    parser.add_argument("--target_split", metavar="NAME", help="split of the other data")
    parser.add_argument(
        "--label_target",
        type=int,
        metavar="N",
        help="draw N of its rows at random, and write a table and a page to label them",
    )
    parser.add_argument(
        "--labels", metavar="FILE", help="read the labels of the rows drawn before, and say the accuracy"
    )


def _shift(options: argparse.Namespace) -> int:
    from hf_transfer.cluster.doors import placing_of
    from hf_transfer.config.run_config import RunConfig
    from hf_transfer.report.words.shift import shift_text
    from hf_transfer.runs.companions import SHIFT_FILE
    from hf_transfer.runs.schema import to_json
    from hf_transfer.transfer.writing import PAGE, ShiftOptions, find_and_write

    defaults = replace(RunConfig(), dataset=options.source, output_dir="runs/shift")
    config = read_settings(options, defaults)
    wanted = ShiftOptions(
        kind=options.kind,
        target_split=options.target_split,
        label_target=options.label_target,
        labels=options.labels,
    )
    found = find_and_write(config, options.target, wanted, engine=placing_of(config))
    folder = Path(config.output_dir)
    files = f"With pictures: {folder / PAGE}. All figures: {folder / SHIFT_FILE}."
    show(options, (to_json(found), f"{shift_text(found)}\n\n{files}"))
    return 0
