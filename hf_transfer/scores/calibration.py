"""Calibration of a run's out-of-fold probabilities, for results.json and the card. No torch."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.scores.metrics import row_losses
from hf_transfer.scores.scorer import Scorer
from hf_transfer.scores.statistics.calibration import (
    Reliability,
    apply_temperature,
    calibration_floor,
    classwise_calibration_error,
    expected_calibration_error,
    fit_temperature,
    reliability,
)

NUM_BINS = 15

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Bin:
    """Rows of about one confidence: that, the share that were right, and how many there are."""

    confidence: float
    accuracy: float
    count: int


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A temperature, and what probabilities are worth as they come (before) and divided by one (after).

    Attributes:
        temperature: Of all rows, for the published weights; 1 where those of other folds lower no log loss.
        num_bins: That errors are taken over.
        log_loss_before: Of the labels.
        ece_before: Calibration error of the predicted class.
        classwise_before: Calibration error of every class.
        floor_before: What perfect probabilities would show by chance.
        log_loss_after: The first with temperatures of other folds, as are the next three.
        ece_after: The second.
        classwise_after: The third.
        floor_after: The fourth.
        bins: `before` and `after`, for the diagram.
    """

    temperature: float
    num_bins: int
    log_loss_before: float
    ece_before: float
    classwise_before: float
    floor_before: float
    log_loss_after: float
    ece_after: float
    classwise_after: float
    floor_after: float
    bins: Mapping[str, list[Bin]]


def calibrate(table: pa.Table, scorer: Scorer, *, seed: int) -> Calibration | None:
    """Fit a temperature to pooled out-of-fold logits, and measure the calibration error before and after.

    `temperature` is of all rows, for the published weights. Its effect is measured with others:
    each fold's rows are divided by the temperature of the other folds of its repeat, so that no row
    is scored by a number it took part in. Errors are averaged over repeats. Where that makes the log
    loss no lower, the temperature is 1: the probabilities are better as they come.

    Args:
        table: Out-of-fold predictions.
        scorer: The task's scorer.
        seed: Of the draws that tell what chance alone would show.

    Returns:
        None for tasks without classes of rows, and where a temperature has one class only to go by.
    """
    if not scorer.calibrates or not table.num_rows:
        return None
    logits, labels = scorer.logits(table), np.asarray(table["label"], dtype=np.int64)
    repeats, folds = (np.asarray(table[name]) for name in ("repeat", "fold"))
    others = [
        (rows, (repeats == repeats[rows][0]) & (folds != folds[rows][0])) for rows in _each(repeats, folds)
    ]
    if not all(len(np.unique(labels[learn])) > 1 for _, learn in others):
        return None
    after = np.empty_like(logits)
    for rows, learn in others:
        after[rows] = apply_temperature(logits[rows], fit_temperature(logits[learn], labels[learn]))
    probabilities = {"before": apply_temperature(logits, 1), "after": after}
    measured = {
        f"{name}_{when}": value
        for when, shares in probabilities.items()
        for name, value in _measure(shares, labels, repeats, seed).items()
    }
    bins = {when: _lines(reliability(shares, labels, NUM_BINS)) for when, shares in probabilities.items()}
    found = Calibration(temperature=1.0, num_bins=NUM_BINS, bins=bins, **measured)
    if found.log_loss_after >= found.log_loss_before:
        return found
    return replace(found, temperature=fit_temperature(logits, labels))


def reliability_bins(table: pa.Table, scorer: Scorer) -> tuple[float, list[Bin]] | None:
    """Calibration error of the predicted class, and its bins; None where nothing is calibrated."""
    if not scorer.calibrates:
        return None
    shares = apply_temperature(scorer.logits(table), 1)
    labels = np.asarray(table["label"], dtype=np.int64)
    error = expected_calibration_error(shares, labels, NUM_BINS)
    return error, _lines(reliability(shares, labels, NUM_BINS))


def _each(repeats: NDArray[Any], folds: NDArray[Any]) -> list[NDArray[np.intp]]:
    """Yield the row numbers of each fold of each repeat."""
    _, fold_of_row = np.unique(np.stack([repeats, folds]), axis=1, return_inverse=True)
    return [np.flatnonzero(fold_of_row == number) for number in range(fold_of_row.max() + 1)]


def _measure(shares: Floats, labels: Ints, repeats: NDArray[Any], seed: int) -> dict[str, float]:
    parts = [np.flatnonzero(repeats == repeat) for repeat in np.unique(repeats)]
    return {
        "log_loss": _mean(row_losses(labels[rows], shares[rows]).mean() for rows in parts),
        "ece": _mean(expected_calibration_error(shares[rows], labels[rows], NUM_BINS) for rows in parts),
        "classwise": _mean(
            classwise_calibration_error(shares[rows], labels[rows], NUM_BINS) for rows in parts
        ),
        "floor": _mean(calibration_floor(shares[rows], NUM_BINS, seed=seed) for rows in parts),
    }


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _lines(bins: Reliability) -> list[Bin]:
    columns = zip(bins.confidence, bins.accuracy, bins.count, strict=True)
    return [Bin(float(a), float(b), int(c)) for a, b, c in columns]
