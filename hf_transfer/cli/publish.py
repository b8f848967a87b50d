"""`hf-transfer card`, `report` and `push`: publish a run as a card, as a page, or on the Hub."""

import argparse
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cli.verb import add_verb, show


def add_card(verbs: Any) -> None:
    """Add `card` to the command line."""
    parser = add_verb(verbs, "card", _card, "write a run's model card again")
    parser.add_argument("run", metavar="RUN", help="the run's folder")


def add_push(verbs: Any) -> None:
    """Add `push` to the command line."""
    parser = add_verb(verbs, "push", _push, "publish a run on the Hub; safe to repeat")
    parser.add_argument("run", metavar="RUN", help="the run's folder")
    parser.add_argument("repo", metavar="REPO", help="the repository on the Hub, user/name")
    parser.add_argument("--private", action="store_true", help="make the repository private")
    parser.add_argument(
        "--scored", action="store_true", help="publish what `score` found on other rows, predictions too"
    )


def add_report(verbs: Any) -> None:
    """Add `report` to the command line."""
    parser = add_verb(verbs, "report", _report, "write a run as one page for a browser, verdicts first")
    parser.add_argument("run", metavar="RUN", help="the run's folder")
    parser.add_argument(
        "--against", nargs="+", default=[], metavar="RUN", help="runs on the same folds to set it beside"
    )
    parser.add_argument(
        "--open-nothing", action="store_true", help="leave the data set closed: the page shows no rows of it"
    )


def _card(options: argparse.Namespace) -> int:
    from hf_transfer.report.card.card import write_card

    path = write_card(options.run)
    show(options, ({"card": str(path)}, str(path)))
    return 0


def _push(options: argparse.Namespace) -> int:
    from hf_transfer.runs.hub.push import push

    url = push(options.run, options.repo, private=options.private, scored=options.scored)
    show(options, ({"url": url}, url))
    return 0


def _report(options: argparse.Namespace) -> int:
    from hf_transfer.report.page.page import write_report

    path = write_report(options.run, against=options.against, with_data=not options.open_nothing)
    show(options, ({"report": str(path)}, str(path)))
    return 0
