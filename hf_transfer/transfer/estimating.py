"""Estimate accuracy on rows without labels, and by how much such an estimate was off where it is known."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.progress import progress_bar
from hf_transfer.runs.shift_record import EstimatedAccuracy, LeftOutPart
from hf_transfer.scores.shift.estimate import SURENESS, average_thresholded_confidence
from hf_transfer.transfer.features import DomainFeatures
from hf_transfer.transfer.heads import SourceHead

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MOST_PARTS = 12  # of domains or groups to leave out one by one; with more, folds are left out


def estimate_accuracy(head: SourceHead, target: DomainFeatures) -> EstimatedAccuracy:
    """Estimate the accuracy of a head on a data set whose labels are not used.

    The error of the estimate is found by the same procedure on parts of the labelled rows that are left out
    in turn: their domains or groups where there are a few, else folds.

    Args:
        head: Of the labelled rows.
        target: The other data set. Its labels, if it has any, only serve to say the truth beside.
    """
    labels = head.features.labels
    logits = head.whole.scores(target.values)
    right = head.out_of_fold.argmax(axis=1) == labels
    entropy, probability = (
        average_thresholded_confidence(sure(head.out_of_fold), right, sure(logits))
        for sure in SURENESS.values()
    )
    kind, parts = _parts(head)
    found = list(_left_out(head, parts))
    errors = [abs(part.estimated - part.true) for part in found]
    return EstimatedAccuracy(
        source_accuracy=float(right.mean()),
        estimated=entropy,
        by_probability=probability,
        mean_error=float(np.mean(errors)),
        worst_error=float(np.max(errors)),
        left_out=kind,
        parts=found,
        target_accuracy=None
        if target.labels is None
        else float((logits.argmax(axis=1) == target.labels).mean()),
    )


def _parts(head: SourceHead) -> tuple[str, Ints]:
    """What is left out in turn: `domain`, `group` or `fold`, and that of each row."""
    rows = head.features.data.rows
    for kind, column in (("domain", "site"), ("group", "group")):
        if column in rows.column_names:
            numbers = np.unique(np.asarray(rows[column][:]), return_inverse=True)[1]
            if 2 < numbers.max() + 1 <= _MOST_PARTS:
                return kind, numbers.astype(np.int64)
    return "fold", head.folds


def _left_out(head: SourceHead, parts: Ints) -> Iterator[LeftOutPart]:
    """The estimate and the truth of each part, by heads that saw nothing of it."""
    labels, numbers = np.asarray(head.features.labels), np.unique(parts[parts >= 0])
    (sure, *_) = SURENESS.values()
    with progress_bar("estimates", total=len(numbers), unit="part") as bar:
        for number in numbers.tolist():
            inside, rest = np.flatnonzero(parts == number), np.flatnonzero(parts != number)
            logits = head.of(rest).scores(head.features.values[inside])
            known = head.held_out(rest)
            estimated = average_thresholded_confidence(
                sure(known), known.argmax(axis=1) == labels[rest], sure(logits)
            )
            true = float((logits.argmax(axis=1) == labels[inside]).mean())
            yield LeftOutPart(str(number + 1), len(inside), estimated, true)
            bar.update()
