"""`hf-transfer pretrain`: let a base model go on learning from rows without labels."""

import argparse
from dataclasses import fields, replace
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cli.verb import add_verb, read_settings, show


def add_pretrain(verbs: Any) -> None:
    """Add `pretrain` to the command line."""
    help = "let a base model go on learning from rows without labels, and probe whether it helps"
    parser = add_verb(verbs, "pretrain", _pretrain, help, takes_settings=True)
    parser.add_argument(
        "dataset",
        metavar="POOL",
        help="rows without labels: what --dataset takes, a folder of files, or a .txt of lines; settings may "
        "follow, such as --base_model, --num_epochs, --max_length, --output_dir",
    )
    parser.add_argument("--kind", metavar="INPUT", help="text or image; found by itself when not given")
    parser.add_argument(
        "--objective",
        metavar="NAME",
        help="masked-words (usual for texts), same-texts (SimCSE), masked-pictures (usual for pictures) or "
        "same-pictures (VICReg)",
    )
    parser.add_argument("--probe", metavar="DATASET", help="labelled data to judge by, before and after")
    parser.add_argument("--probe_split", metavar="NAME", help="which split of those to use")
    parser.add_argument("--minutes", type=float, metavar="N", help="stop after so many minutes of training")
    parser.add_argument(
        "--pretrain_from_scratch",
        dest="from_scratch",
        action="store_true",
        help="begin with random weights, in the base model's architecture",
    )


def _pretrain(options: argparse.Namespace) -> int:
    from hf_transfer.config.run_config import RunConfig
    from hf_transfer.runs.schema import to_json
    from hf_transfer.transfer.pretrain import DEFAULTS, PretrainOptions, run_pretrain
    from hf_transfer.transfer.pretrain_words import pretrain_text

    defaults = replace(RunConfig(), dataset=options.dataset, output_dir="runs/pretrain", **DEFAULTS)
    config = read_settings(options, defaults)
    wanted = PretrainOptions(
        **{field.name: getattr(options, field.name) for field in fields(PretrainOptions)}
    )
    record = run_pretrain(config, wanted)
    text = f"{pretrain_text(record)}\n\nThe model, for --base_model: {config.output_dir}"
    show(options, (to_json(replace(record, rows=[])), text))
    return 0
