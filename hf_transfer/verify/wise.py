"""Verify what averaged weights reach beside both of their ends."""

from collections.abc import Iterator

from hf_transfer import _guard  # noqa: F401
from hf_transfer.runs.records import WiseTest
from hf_transfer.runs.wise import ENDS, wise_part
from hf_transfer.verify.check import Check, differences
from hf_transfer.verify.control_runs import ControlRuns, control_check
from hf_transfer.verify.record import Record


def wise_checks(record: Record) -> Iterator[Check]:
    """Score both ends again, and test them against the mean of their weights."""
    if written := record.results.wise:
        yield control_check(record, "averaged weights", "wise-*", lambda: _compare(record, written))


def _compare(record: Record, written: WiseTest) -> Iterator[str]:
    averaged = [fold for fold in record.fold_results[record.best] if fold.status == "done"]
    names = [(fold.repeat, fold.fold) for fold in averaged]
    ends = {name: ControlRuns(record, folder, names) for name, folder in ENDS.items()}
    for runs in ends.values():
        yield from runs.problems()
    scored = {name: (runs.folds, runs.predictions) for name, runs in ends.items()}
    again = wise_part(scored, (averaged, record.predictions), record.target, seed=record.config.seed)
    yield from differences(written, again, "wise")
