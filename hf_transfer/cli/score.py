"""`hf-transfer score`: score a run's final model on labelled rows it has not learned from."""

import argparse
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cli.verb import add_verb, read_settings, show


def add_score(verbs: Any) -> None:
    """Add `score` to the command line."""
    help = "score a run's final model on labelled rows that it has not learned from"
    parser = add_verb(verbs, "score", _score, help, takes_settings=True)
    parser.add_argument("run", metavar="RUN", help="the run's folder")
    parser.add_argument(
        "dataset",
        metavar="DATA",
        help="what --dataset takes; its other settings may follow, such as --split or --label_column",
    )
    parser.add_argument(
        "--wise_curve",
        action="store_true",
        help="of a run with --wise: score every share of the fine-tuned weights there, beside its folds",
    )


def _score(options: argparse.Namespace) -> int:
    from hf_transfer.report.scored import local_results, score_with
    from hf_transfer.runs.schema import to_json
    from hf_transfer.study.final.scored import scoring_config

    defaults = scoring_config(local_results(options.run), options.dataset)
    config = read_settings(options, defaults)
    record, folder = score_with(options.run, config, wise_curve=options.wise_curve)
    show(options, (to_json(record), f"{record.to_text()}\n\nPredictions and pictures: {folder}."))
    return 0
