"""Verify what averaged weights reach beside both of their ends, and at shares between."""

from collections.abc import Iterator

from hf_transfer import _guard  # noqa: F401
from hf_transfer.runs.records import WiseTest
from hf_transfer.runs.wise import ENDS, FOLDERS, wise_part
from hf_transfer.verify.check import Check, differences
from hf_transfer.verify.control_runs import ControlRuns, control_check
from hf_transfer.verify.record import Record


def wise_checks(record: Record) -> Iterator[Check]:
    """Score both ends and shares between again, and test the ends against the mean of their weights."""
    if written := record.results.wise:
        yield control_check(record, "averaged weights", "wise-*", lambda: _compare(record, written))


def _compare(record: Record, written: WiseTest) -> Iterator[str]:
    averaged = [fold for fold in record.fold_results[record.best] if fold.status == "done"]
    names = [(fold.repeat, fold.fold) for fold in averaged]
    between = any(record.folder.glob(f"folds/**/{FOLDERS[0.5]}/*/done.json"))  # else of an earlier version
    shares = FOLDERS if between else ENDS.values()
    runs = {share: ControlRuns(record, FOLDERS[share], names) for share in shares}
    for one in runs.values():
        yield from one.problems()
    scored = {share: (one.folds, one.predictions) for share, one in runs.items()}
    again = wise_part(scored, (averaged, record.predictions), record.target, seed=record.config.seed)
    yield from differences(written, again, "wise")
