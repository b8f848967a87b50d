"""Correct the score of the best of several configurations for the luck of being best."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError
from hf_transfer.scores.statistics.bootstrap import Strata
from hf_transfer.scores.statistics.counts import Floats, divide

Merits = Callable[[Floats], Floats]


def best_of(
    merits: ArrayLike | Merits,
    folds: ArrayLike,
    *,
    units: ArrayLike | None = None,
    num_resamples: int = 500,
    seed: int,
) -> float | None:
    """Estimate the merit of choosing the best configuration: chosen on some rows, scored on others.

    The best of m scores on the same rows is partly the luckiest. So rows are drawn again; the configuration
    that is best on the drawn ones is scored on those that were not drawn; and these scores are averaged. No
    model is trained. The choice is made on fewer different rows (63 %) than the real one, so the estimate is
    slightly too low. Percentiles of these scores are no 95 % interval: they held the truth in 99 % of trials.

    Args:
        merits: Merit of each row under each configuration, (m, n), the higher the better, such as minus the
            loss. Or, for scores that are no mean over rows, a function from weights (b, n) to merits (m, b).
        folds: Fold of each row, (n,). Rows are drawn within folds.
        units: What is drawn together, (n,); see `bootstrap_interval`.
        num_resamples: Number of resamples.
        seed: Seed of the draws.

    Returns:
        The corrected merit of the best; None where more than half of the resamples leave it undefined.

    Raises:
        TransferError: If a number is out of range, merits are not (m, n) and finite, or units not (n,).

    References:
        Tsamardinos et al., "Bootstrapping the out-of-sample predictions …", Machine Learning 107, 2018.

    Example:
        Two configurations that only guess, and one of them was lucky:

        >>> import numpy as np
        >>> lucky = (np.arange(100) % 20 < 11).astype(float)
        >>> found = best_of([lucky, 1 - lucky], np.arange(100) % 5, seed=0)
        >>> bool(lucky.mean() == 0.55), round(found, 2)
        (True, 0.51)
    """
    merit = merits if callable(merits) else _row_means(merits, len(np.asarray(folds)))
    chosen_scores = []
    for weights in Strata.of(folds, units).resamples(num_resamples, seed):
        drawn, left = merit(weights), merit((weights == 0).astype(np.float64))
        chosen = np.argmax(np.where(np.isnan(drawn), -np.inf, drawn), axis=0)
        chosen_scores.append(np.take_along_axis(left, chosen[None], axis=0)[0])
    scores = np.concatenate(chosen_scores)
    defined = scores[np.isfinite(scores)]
    return float(defined.mean()) if 2 * len(defined) >= len(scores) else None


def _row_means(merits: ArrayLike, num_rows: int) -> Merits:
    values: Any = np.asarray(merits, dtype=np.float64)
    if values.ndim != 2 or not len(values) or values.shape[1] != num_rows or not np.isfinite(values).all():
        raise DataError(
            f"Expected finite merits of shape (m, {num_rows}), a line for each configuration, "
            f"got shape {values.shape} with {np.count_nonzero(~np.isfinite(values))} infinite or undefined."
        )
    return lambda weights: divide(
        values @ weights.T, np.broadcast_to(weights.sum(axis=1), (len(values), len(weights)))
    )
