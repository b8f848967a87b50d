"""`hf-transfer layers`: show a model's layer groups, and which of them a setting freezes."""

import argparse
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cli.verb import add_verb, cell, show
from hf_transfer.machine.wording import aligned

_COLUMNS = ("group", "modules", "parameters", "trainable", "status", "learning_rate", "norm", "dropout")
_USUAL_ROWS = 1_000  # to learn from; the rates do not depend on it


def add_layers(verbs: Any) -> None:
    """Add `layers` to the command line."""
    help = "show a model's layer groups, and what a choice of them would freeze"
    parser = add_verb(verbs, "layers", _layers, help)
    parser.add_argument("model", help="Hub id, folder, builtin:NAME or timm:ARCH")
    parser.add_argument(
        "--trainable", default="all", metavar="SPEC", help="head, last:2, from:NAME, globs, …"
    )
    parser.add_argument(
        "--norm", default="auto", choices=("auto", "freeze", "train"), help="normalisation layers"
    )
    parser.add_argument(
        "--learning_rate",
        "--lr",
        default="auto",
        metavar="X",
        help="of the head; auto: as a run would choose",
    )
    parser.add_argument("--layer_decay", default="auto", metavar="X", help="factor per group below it")


def _layers(options: argparse.Namespace) -> int:
    from hf_transfer.config.run_config import RunConfig
    from hf_transfer.layers import freeze_table
    from hf_transfer.layers.phases import freeze_for
    from hf_transfer.models.building import bare_model
    from hf_transfer.study.defaults import model_facts, settle

    names = ("trainable", "norm", "learning_rate", "layer_decay")
    given = {name: getattr(options, name) for name in names}
    config = RunConfig(base_model=options.model).changed(given)
    model = bare_model(config)
    config = settle(config, model, model_facts(model, pretrained=True), _USUAL_ROWS)
    rates = (
        {} if config.solved else {name: getattr(config, name) for name in ("learning_rate", "layer_decay")}
    )
    rows = freeze_table(model, freeze_for(model, config), **rates)
    text = f"{_title(options, rows)}{', in closed form' if config.solved else ''}\n\n{_table(rows)}"
    show(options, (rows, text))
    return 0


def _title(options: argparse.Namespace, rows: list[dict[str, Any]]) -> str:
    total, learns = (sum(row[name] for row in rows) for name in ("parameters", "trainable"))
    return f"{options.model} with trainable={options.trainable}: {learns:,} of {total:,} parameters learn"


def _table(rows: list[dict[str, Any]]) -> str:
    cells = [[cell(row[name]) for name in _COLUMNS] for row in rows]
    return aligned([[name.replace("_", " ") for name in _COLUMNS], *cells])
