"""Calibration: reliability bins, calibration errors, and temperature scaling."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError, DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LOWEST, HIGHEST = 0.05, 20.0  # temperatures: beyond them, the logits know all or nothing
_HALVINGS = 30  # of the range of log T: to 6e-9


@dataclass(frozen=True)
class Reliability:
    """Reliability diagram: rows binned by confidence, one entry for each bin with rows, (b,)."""

    confidence: Floats
    accuracy: Floats
    count: Ints


def reliability(probabilities: ArrayLike, labels: ArrayLike, num_bins: int = 15) -> Reliability:
    """Bin rows by the probability of their predicted class, as many in each bin.

    Rows of equal confidence share a bin, so that the order of rows does not matter. Bins are
    therefore fewer, or uneven, where many rows are equally sure.

    Args:
        probabilities: One for each row and class, (n, c).
        labels: Class of each row, (n,), 0 to c - 1.
        num_bins: Bins at most.

    Returns:
        Mean confidence, share of right rows, and number of rows of each bin.

    Raises:
        ConfigError: If `num_bins` is below 1.
        DataError: If there are no rows, the rows are not probabilities, or a label is out of range.
    """
    shares, classes = _checked(probabilities, labels, num_bins)
    predicted = shares.argmax(axis=1)
    return _binned(shares.max(axis=1), predicted == classes, num_bins)


def expected_calibration_error(probabilities: ArrayLike, labels: ArrayLike, num_bins: int = 15) -> float:
    """Average how far confidence lies from accuracy, over bins of as many rows each.

    Chance alone makes it larger than 0: by a lot for few rows, see `calibration_floor`.

    Args:
        probabilities: One for each row and class, (n, c).
        labels: Class of each row, (n,), 0 to c - 1.
        num_bins: Bins at most.

    Raises:
        ConfigError: If `num_bins` is below 1.
        DataError: If there are no rows, the rows are not probabilities, or a label is out of range.

    References:
        Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017.
        Nixon et al., "Measuring calibration in deep learning", CVPR workshops 2019: equal numbers
        of rows in the bins.

    Example:
        >>> expected_calibration_error([[0.8, 0.2]] * 4, [0, 0, 1, 1])
        0.30000000000000004
    """
    return _error(reliability(probabilities, labels, num_bins))


def classwise_calibration_error(probabilities: ArrayLike, labels: ArrayLike, num_bins: int = 15) -> float:
    """Average the calibration error of every class's probability, not only of the predicted one's.

    Args:
        probabilities: One for each row and class, (n, c).
        labels: Class of each row, (n,), 0 to c - 1.
        num_bins: Bins of each class at most.

    Raises:
        ConfigError: If `num_bins` is below 1.
        DataError: If there are no rows, the rows are not probabilities, or a label is out of range.

    References:
        Kull et al., "Beyond temperature scaling", NeurIPS 2019: the mean over classes.
    """
    shares, classes = _checked(probabilities, labels, num_bins)
    errors = [
        _error(_binned(shares[:, column], classes == column, num_bins)) for column in range(shares.shape[1])
    ]
    return float(np.mean(errors))


def calibration_floor(
    probabilities: ArrayLike, num_bins: int = 15, *, num_draws: int = 200, seed: int
) -> float:
    """Calibration error that perfect probabilities would show by chance.

    Whether each row is right is drawn with the probability that is claimed; the error of these
    draws is averaged. A measured error near this one is no evidence against the probabilities.

    Args:
        probabilities: One for each row and class, (n, c).
        num_bins: Bins at most.
        num_draws: Number of draws.
        seed: Seed of the draws.

    Raises:
        ConfigError: If `num_bins` or `num_draws` is below 1.
        DataError: If there are no rows, or the rows are not probabilities.
    """
    if num_draws < 1:
        raise ConfigError(f"num_draws must be 1 or more, got {num_draws}.")
    shares, _ = _checked(probabilities, np.zeros(len(np.asarray(probabilities)), np.int64), num_bins)
    confidence = shares.max(axis=1)
    rng = np.random.Generator(np.random.PCG64(seed))
    bins = _bin_of(confidence, num_bins)
    claimed = np.bincount(bins, confidence)
    gaps = [np.bincount(bins, rng.random(len(bins)) < confidence) - claimed for _ in range(num_draws)]
    return float(np.abs(gaps).sum(axis=1).mean() / len(bins))


def fit_temperature(logits: ArrayLike, labels: ArrayLike, *, imagined: float = 1.0) -> float:
    """Find the temperature that maximises the likelihood of the labels.

    Above 1 the model is too sure, below 1 not sure enough. The predicted classes stay the same.
    The mean log loss is convex in 1 / T, so the place where its slope is 0 is found by halving the
    range of log T.

    One imagined row, whose label is every class alike, is shared out among the rows' labels, so that a few
    rows that are all right do not make the model sure beyond all doubt.

    Args:
        logits: One for each row and class, (n, c).
        labels: Class of each row, (n,), 0 to c - 1.
        imagined: Number of imagined rows; 0 gives the plain maximum likelihood.

    Returns:
        The temperature, from 0.05 to 20: one of these where the loss falls beyond it, as for rows
        that are no better than guessed. 1 when each row's logits are equal.

    Raises:
        DataError: If there are no rows, all are of one class, or a logit or label is out of range.

    References:
        Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017.
        Platt, "Probabilistic outputs for support vector machines", 1999: imagined rows; his are one of each
        class, which is too many of few rows with many classes.
    """
    scores, classes = _checked_logits(logits), np.asarray(labels)
    _check_labels(classes, *scores.shape)
    if len(np.unique(classes)) < 2:
        raise DataError(
            f"A temperature needs rows of two or more classes, got {len(classes)} of class {classes[0]}."
        )
    scores = scores - scores.max(axis=1, keepdims=True)
    if not scores.any():
        return 1.0
    n = len(scores)
    own, any_class = scores[np.arange(n), classes], scores.mean(axis=1)
    given = float((n * own + imagined * any_class).mean() / (n + imagined))
    low, high = np.log(LOWEST), np.log(HIGHEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        # The loss falls with a growing T while the expected logit is above that of the labels.
        low, high = (middle, high) if _expected_logit(scores, np.exp(middle)) > given else (low, middle)
    return float(np.exp((low + high) / 2))


def apply_temperature(logits: ArrayLike, temperature: float) -> Floats:
    """Turn logits (n, c) into probabilities (n, c), dividing them by the temperature first.

    Raises:
        ConfigError: If the temperature is not above 0.
        DataError: If the logits are not (n, c) and finite.
    """
    if not temperature > 0:
        raise ConfigError(f"A temperature must be above 0, got {temperature}; 1 changes nothing.")
    shares = _checked_logits(logits) / temperature
    shares -= shares.max(axis=1, keepdims=True)  # in place: a thousand classes make large tables
    np.exp(shares, out=shares)
    shares /= shares.sum(axis=1, keepdims=True)
    return shares


def _expected_logit(scores: Floats, temperature: float) -> float:
    """Mean over rows of the logit expected under their probabilities."""
    odds = np.exp(scores / temperature)
    return float(((odds * scores).sum(axis=1) / odds.sum(axis=1)).mean())


def _bin_of(confidence: Floats, num_bins: int) -> NDArray[np.intp]:
    """Index of each row's bin, counting only bins with rows."""
    edges = np.sort(confidence)[np.arange(1, num_bins) * len(confidence) // num_bins]
    return np.unique(np.searchsorted(edges, confidence, side="right"), return_inverse=True)[1]


def _binned(confidence: Floats, right: NDArray[np.bool_], num_bins: int) -> Reliability:
    bins = _bin_of(confidence, num_bins)
    counts = np.bincount(bins)
    return Reliability(np.bincount(bins, confidence) / counts, np.bincount(bins, right) / counts, counts)


def _error(bins: Reliability) -> float:
    return float((bins.count * np.abs(bins.accuracy - bins.confidence)).sum() / bins.count.sum())


def _checked(probabilities: ArrayLike, labels: ArrayLike, num_bins: int) -> tuple[Floats, Ints]:
    if num_bins < 1:
        raise ConfigError(f"num_bins must be 1 or more, got {num_bins}.")
    shares: Any = np.asarray(probabilities, dtype=np.float64)
    if shares.ndim != 2 or not len(shares) or shares.shape[1] < 2:
        raise DataError(
            f"Expected probabilities of shape (n, c) with c of 2 or more, got shape {shares.shape}."
        )
    wrong = ~((shares >= 0).all(axis=1) & (np.abs(shares.sum(axis=1) - 1) < 1e-4))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"Row {row} holds {shares[row][:10].tolist()}, which are no probabilities: they must be 0 or "
            "more and make 1. For logits, call apply_temperature(logits, 1) first."
        )
    classes = np.asarray(labels)
    _check_labels(classes, *shares.shape)
    return shares, classes


def _checked_logits(logits: ArrayLike) -> Floats:
    scores: Any = np.asarray(logits, dtype=np.float64)
    if scores.ndim != 2 or not len(scores) or scores.shape[1] < 2:
        raise DataError(f"Expected logits of shape (n, c) with c of 2 or more, got shape {scores.shape}.")
    if not np.isfinite(scores).all():
        row = int(np.flatnonzero(~np.isfinite(scores).all(axis=1))[0])
        raise DataError(f"Logits must be finite, got {scores[row][:10].tolist()} in row {row}.")
    return scores  # type: ignore[no-any-return]


def _check_labels(labels: NDArray[Any], num_rows: int, num_classes: int) -> None:
    if labels.shape != (num_rows,) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"Expected a class id for each of {num_rows} rows, got shape {labels.shape} of {labels.dtype}."
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(
            f"Labels must be class ids from 0 to {num_classes - 1}, got {labels.min()} to {labels.max()}."
        )
