"""Verify what other rows in training are said to do."""

from collections.abc import Iterator
from dataclasses import fields

from hf_transfer import _guard  # noqa: F401
from hf_transfer.runs.added import Source, added_part
from hf_transfer.verify.check import Check, differences
from hf_transfer.verify.control_runs import ControlRuns, control_check
from hf_transfer.verify.record import Record


def added_checks(record: Record) -> Iterator[Check]:
    """Score the heads with and without the added rows again, and test them."""
    if record.results.added_sources:
        yield control_check(record, "added source", "added-*", lambda: _compare(record))


def _compare(record: Record) -> Iterator[str]:
    written = record.results.added_sources
    names = [name for name in record.names if name[0] == 0]
    own = "" if any(one.trained for one in written) else "probe"  # the run's own folds, or heads
    runs = [ControlRuns(record, folder, names) for folder in (own, *(one.folder for one in written))]
    for one in runs:
        yield from one.problems()
    alone, *others = [(one.folds, one.predictions) for one in runs]
    sources = [Source(**{f.name: getattr(one, f.name) for f in fields(Source)}) for one in written]
    tested = list(zip(sources, others, strict=True))
    again = added_part(alone, tested, record.target, seed=record.config.seed)
    yield from differences(written, again, "added_sources")
