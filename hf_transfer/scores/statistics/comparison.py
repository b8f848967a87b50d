"""Tests between configurations that were scored on the same folds and rows."""

import warnings
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError, DataError

Floats = NDArray[np.float64]
Interval = tuple[float, float]
Alternative = Literal["two-sided", "greater", "less"]

SAME = 1e-12  # differences of scores closer than this differ by rounding only


class CorrectedT(NamedTuple):
    """Mean of paired fold differences, its two-sided interval, and the p-value."""

    mean: float
    interval: Interval
    p: float


def corrected_resampled_t(
    differences: ArrayLike, num_folds: float, *, level: float = 0.95, alternative: Alternative = "two-sided"
) -> CorrectedT:
    """Test whether paired fold differences have mean 0, allowing for shared training rows.

    The plain t-test takes folds for independent, though any two share most of their training
    rows, and so finds differences where there are none. See `corrected_error` for the remedy.

    Given the scores of one configuration instead of differences, the interval is that of its mean.

    Args:
        differences: Score of one configuration minus the other's, one a fold and repeat, (J,).
        num_folds: Folds of one repeat, k; where sizes differ, 1 + training rows / held-out rows.
        level: Coverage of the interval, which has two sides whatever the alternative.
        alternative: What p speaks against 0 for: a mean that differs, is "greater" or is "less".

    Returns:
        Mean, interval and p. When all differences are equal the interval is that point, and p is
        1 if they are 0 and NaN, with a warning, if they are not.

    Raises:
        ConfigError: If `num_folds` is not above 1, `level` is not between 0 and 1, or `alternative` is
            not one of the three.
        DataError: If there are fewer than two differences, or one is not finite.

    References:
        Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52, 2003.
        Bouckaert and Frank, "Evaluating the replicability of significance tests for comparing
        learning algorithms", PAKDD 2004: the form for repeated k-fold.

    Example:
        >>> mean, interval, p = corrected_resampled_t([0.02, 0.01, 0.03, 0.0, 0.04], num_folds=5)
        >>> round(mean, 3), round(p, 6)
        (0.02, 0.132419)
    """
    if not 0 < level < 1:
        raise ConfigError(f"level must lie between 0 and 1, such as 0.95, got {level}.")
    _check_alternative(alternative)
    values = _checked_differences(differences, num_folds)
    mean, error = float(values.mean()), _corrected_error(values, num_folds)
    if not error:
        return CorrectedT(mean, (mean, mean), _p_without_spread(mean))
    freedom = len(values) - 1
    margin = float(special.stdtrit(freedom, (1 + level) / 2)) * error
    tails = {"two-sided": -abs(mean), "greater": -mean, "less": mean}
    tail = float(special.stdtr(freedom, tails[alternative] / error))
    return CorrectedT(mean, (mean - margin, mean + margin), 2 * tail if alternative == "two-sided" else tail)


def _check_alternative(alternative: str) -> None:
    if alternative not in ("two-sided", "greater", "less"):
        raise ConfigError(f"alternative must be 'two-sided', 'greater' or 'less', got {alternative!r}.")


def corrected_error(differences: ArrayLike, num_folds: float) -> float:
    """Estimate the standard error of a mean over folds, allowing for shared training rows.

    The correction adds n_test / n_train, here 1 / (k - 1), to the share 1 / J that each of J
    independent values would have in the variance of their mean. More repeats make J larger and
    leave the correction as it is: the rows are no more than they were.

    Args:
        differences: Paired differences, or the scores of one configuration, one a fold and repeat, (J,).
        num_folds: Folds of one repeat, k; where sizes differ, 1 + training rows / held-out rows.

    Returns:
        The error in the unit of the differences; 0 when they are all equal.

    Raises:
        ConfigError: If `num_folds` is not above 1.
        DataError: If there are fewer than two differences, or one is not finite.

    References:
        Nadeau and Bengio 2003; see `corrected_resampled_t`.

    Example:
        >>> round(corrected_error([0.02, 0.01, 0.03, 0.0, 0.04], num_folds=5), 7)
        0.0106066
    """
    return _corrected_error(_checked_differences(differences, num_folds), num_folds)


def _corrected_error(values: Floats, num_folds: float) -> float:
    if np.ptp(values) <= SAME:
        return 0.0
    return float(np.sqrt(values.var(ddof=1) * (1 / len(values) + 1 / (num_folds - 1))))


def effective_folds(sizes: Sequence[tuple[int, int]]) -> float:
    """The k for which 1 / (k - 1) equals the mean ratio of held-out to training rows.

    It is the number of folds where these are of one size, and less where rows beside a held-out block
    are not trained on, or training sets grow with time.

    Args:
        sizes: Number of training and of held-out rows of each fold.

    Example:
        >>> effective_folds([(80, 20)] * 5)
        5.0
    """
    return 1 + 1 / float(np.mean([num_valid / num_train for num_train, num_valid in sizes]))


def _checked_differences(differences: ArrayLike, num_folds: float) -> Floats:
    if not num_folds > 1:
        raise ConfigError(f"num_folds must be above 1, got {num_folds}: rows are learned from and held out.")
    values: NDArray[Any] = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise DataError(
            f"Expected a list of two or more fold differences, got shape {values.shape}. "
            "A test needs at least two folds that both configurations finished."
        )
    if not np.isfinite(values).all():
        raise DataError(
            f"Fold differences must be finite, got {values.tolist()}. "
            "Leave out the folds whose score is undefined."
        )
    return values


def _p_without_spread(mean: float) -> float:
    if abs(mean) <= SAME:
        return 1.0
    warnings.warn(
        f"All fold differences equal {mean:g}, so their spread is 0 and the p-value is undefined.",
        RuntimeWarning,
        stacklevel=3,
    )
    return float("nan")


def one_standard_error(differences: ArrayLike, costs: ArrayLike, num_folds: float) -> int:
    """Choose the cheapest configuration that is not clearly worse than the best.

    Not clearly: its mean shortfall is at most one corrected standard error of that shortfall. Both
    come from differences on the same folds, so that hard folds do not widen the error.

    Args:
        differences: How much better the best configuration was, on each fold and repeat, (m, J):
            positive where it was better. The best configuration's own line is 0.
        costs: What each configuration costs, (m,), in any unit: trained parameters, time.
        num_folds: Folds of one repeat, k.

    Returns:
        The line of the chosen configuration. Of equal costs, the smaller mean shortfall; then the first.

    Raises:
        ConfigError: If `num_folds` is not above 1.
        DataError: If `differences` is not (m, J) with J of two or more finite values, a cost is
            missing or not finite, or every configuration is worse than the best by more than an
            error, so that the best's own line of zeros is not there.

    References:
        Breiman, Friedman, Olshen and Stone, "Classification and Regression Trees", 1984: the rule.
        Nadeau and Bengio 2003: the error; see `corrected_error`.

    Example:
        The second is worse by 0.01 with an error of 0.013, and costs a tenth:

        >>> one_standard_error([[0, 0, 0], [0.02, -0.01, 0.02], [0.1, 0.1, 0.2]], [10, 1, 0.1], 3)
        1
    """
    lines: NDArray[Any] = np.asarray(differences, dtype=np.float64)
    prices: NDArray[Any] = np.asarray(costs, dtype=np.float64)
    if lines.ndim != 2 or not len(lines) or prices.shape != lines.shape[:1] or not np.isfinite(prices).all():
        raise DataError(
            "Expected differences of shape (m, J) and m finite costs, "
            f"got shape {lines.shape} and costs {prices.tolist()}."
        )
    allowed = [i for i, line in enumerate(lines) if line.mean() <= corrected_error(line, num_folds) + SAME]
    if not allowed:
        raise DataError(
            "Every configuration is worse than the best by more than one standard error (mean shortfalls "
            f"{lines.mean(axis=1).tolist()}). Give the best one's line of zeros too."
        )
    return min(allowed, key=lambda i: (prices[i], lines[i].mean()))


class McNemar(NamedTuple):
    """Rows that just one of two configurations got right, and the p-value."""

    only_first: int
    only_second: int
    p: float


def mcnemar(
    first_right: ArrayLike, second_right: ArrayLike, *, alternative: Alternative = "two-sided"
) -> McNemar:
    """McNemar's test: are two configurations right equally often, on the rows where they differ?

    Of rows that one got right and the other wrong, each side gets half when neither is better. The
    test is exact, and takes the models as they are: it says nothing of other training sets, and
    needs rows that do not depend on one another.

    Args:
        first_right: Whether the first configuration was right, (n,), one entry a row.
        second_right: The same of the second configuration, of the same rows in the same order.
        alternative: What p speaks for: a first configuration that differs, is right more often ("greater") or
            less often ("less").

    Returns:
        The two counts and p, which is 1 when the two never differ.

    Raises:
        ConfigError: If `alternative` is not one of the three.
        DataError: If the two are not lists of one length, or hold something but right and wrong.

    References:
        McNemar, "Note on the sampling error of the difference between correlated proportions or
        percentages", Psychometrika 12, 1947. Dietterich, "Approximate statistical tests for comparing
        supervised classification learning algorithms", Neural Computation 10, 1998.

    Example:
        >>> mcnemar([1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0])
        McNemar(only_first=5, only_second=0, p=0.0625)
    """
    _check_alternative(alternative)
    first, second = np.asarray(first_right), np.asarray(second_right)
    if first.ndim != 1 or first.shape != second.shape:
        raise DataError(f"Expected two lists of one length, got shapes {first.shape} and {second.shape}.")
    if not (np.isin(first, (0, 1)).all() and np.isin(second, (0, 1)).all()):
        raise DataError("Expected True where a configuration was right and False elsewhere, or 1 and 0.")
    only_first = int(np.count_nonzero(first > second))
    only_second = int(np.count_nonzero(first < second))
    fewest = {"two-sided": min(only_first, only_second), "greater": only_second, "less": only_first}
    p = float(special.bdtr(fewest[alternative], only_first + only_second, 0.5))
    return McNemar(only_first, only_second, min(1.0, 2 * p) if alternative == "two-sided" else p)


def holm(p_values: ArrayLike) -> Floats:
    """Adjust p-values for their number, so that one error among all of them stays as rare as stated.

    Args:
        p_values: One a test, (m,). NaN, a test that could not be made, stays NaN and is not counted.

    Returns:
        The adjusted p-values, (m,), in the same order: never smaller than before, at most 1.

    Raises:
        DataError: If it is not a list, or a p-value is not between 0 and 1.

    References:
        Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
        Statistics 6, 1979.

    Example:
        >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
        [0.03, 0.06, 0.06]
    """
    adjusted: Floats = np.array(p_values, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(adjusted))
    if adjusted.ndim != 1 or not ((adjusted[known] >= 0) & (adjusted[known] <= 1)).all():
        raise DataError(f"Expected a list of p-values between 0 and 1, got {adjusted.tolist()}.")
    ranked = known[np.argsort(adjusted[known], kind="stable")]
    factors = np.arange(len(ranked), 0, -1)
    adjusted[ranked] = np.minimum(1.0, np.maximum.accumulate(factors * adjusted[ranked]))
    return adjusted
