"""`hf-transfer compare` and `verify`: find the better run or policy, and check a run's numbers."""

import argparse
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cli.verb import add_verb, show
from hf_transfer.errors import ConfigError


def add_compare(verbs: Any) -> None:
    """Add `compare` to the command line."""
    parser = add_verb(verbs, "compare", _compare, "say which of several runs on the same folds is better")
    help = "folders of runs; with --columns one file of outcomes, a row a trial"
    parser.add_argument("runs", nargs="+", metavar="RUN", help=help)
    help = "two columns of 0 and 1 to compare, such as whether two policies succeeded on the same seeds"
    parser.add_argument("--columns", metavar="A,B", help=help)
    help = "with --columns: a third one, of what succeeds without skill"
    parser.add_argument("--control", metavar="C", help=help)
    help = "with --columns: the column that names each trial (default: seed, if there is one)"
    parser.add_argument("--seed_column", "--seed-column", metavar="NAME", help=help)


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
    if options.columns is not None:
        return _compare_outcomes(options)
    if options.control is not None or options.seed_column is not None:
        raise ConfigError("--control and --seed_column go with --columns, which names two columns of a file.")
    from hf_transfer.report.compare import compare

    found = compare(*options.runs)
    show(options, (found.to_dict(), found.to_text()))
    return 0


def _compare_outcomes(options: argparse.Namespace) -> int:
    from hf_transfer.report.outcomes import compare_outcomes

    if len(options.runs) != 1:
        raise ConfigError(f"--columns reads one file of outcomes; {len(options.runs)} were given.")
    columns = [name.strip() for name in options.columns.split(",")]
    found = compare_outcomes(
        options.runs[0], columns, control=options.control, seed_column=options.seed_column
    )
    show(options, (found.to_dict(), found.to_text()))
    return 0


def _verify(options: argparse.Namespace) -> int:
    from hf_transfer.verify.verify_run import describe_checks, refuse_wrong, verify_run

    checks = verify_run(options.run, retrain=options.retrain, seed=options.seed)
    show(options, describe_checks(checks))
    refuse_wrong(checks, options.run)
    return 0
