"""The rows behind a run's predictions, as far as the data set can still be opened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import TransferError
from hf_transfer.runs.records import Results
from hf_transfer.tasks import task_class
from hf_transfer.tasks.inputs.input import Original


@dataclass(frozen=True)
class Originals:
    """What stood in some rows, by their ids; and why there is nothing, if so."""

    rows: Mapping[Any, Original] = field(default_factory=dict)
    reason: str | None = None


def find_originals(results: Results, row_ids: Sequence[Any]) -> Originals:
    """Open a run's data set again for a few of its rows; what cannot be opened is told, not raised.

    Args:
        results: What results.json holds.
        row_ids: Which rows.
    """
    if not row_ids:
        return Originals()
    task = task_class(results.task, results.input)
    from hf_transfer.data.opening import open_dataset  # here, as `datasets` is slow to import

    try:
        data = open_dataset(results.config, task.input.name)
    except TransferError as error:
        return Originals(reason=f"The data set cannot be opened here: {' '.join(str(error).split())}")
    if data.fingerprint != results.dataset.fingerprint:
        return Originals(reason="The data set has changed since the run, so its rows are not shown.")
    wanted = set(row_ids)
    places = {row_id: place for place, row_id in enumerate(data.rows["row_id"]) if row_id in wanted}
    inputs = zip(places, data.rows.select(list(places.values()))["input"], strict=True)
    return Originals({row_id: data.input.original(content) for row_id, content in inputs})
