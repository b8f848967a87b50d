"""`hf-transfer compare` and `verify`: find the better run, and check a run's numbers."""

import argparse
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cli.verb import add_verb, show


def add_compare(verbs: Any) -> None:
    """Add `compare` to the command line."""
    parser = add_verb(verbs, "compare", _compare, "say which of several runs on the same folds is better")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs")


def add_verify(verbs: Any) -> None:
    """Add `verify` to the command line."""
    help = "make a run's folds and numbers again from what it left; with --retrain N some folds too"
    parser = add_verb(verbs, "verify", _verify, help)
    parser.add_argument("run", metavar="RUN", help="the run's folder, or user/name of one on the Hub")
    help = "train N of its folds again, and compare predictions: needs its data and base model"
    parser.add_argument("--retrain", type=int, default=0, metavar="N", help=help)
    help = "draws these folds; by chance if not given, so that nobody knows beforehand which"
    parser.add_argument("--seed", type=int, help=help)


def _compare(options: argparse.Namespace) -> int:
    from hf_transfer.report.compare import compare

    found = compare(*options.runs)
    show(options, (found.to_dict(), found.to_text()))
    return 0


def _verify(options: argparse.Namespace) -> int:
    from hf_transfer.verify.verify_run import describe_checks, refuse_wrong, verify_run

    checks = verify_run(options.run, retrain=options.retrain, seed=options.seed)
    show(options, describe_checks(checks))
    refuse_wrong(checks, options.run)
    return 0
