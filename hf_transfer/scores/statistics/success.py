"""Rates of success: their interval, the interval of a paired difference, and how many pairs tell one."""

import math
from typing import NamedTuple

from scipy import special

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError

Interval = tuple[float, float]


class PairedTable(NamedTuple):
    """What two did on the same occasions: both succeeded, only one of them, neither."""

    both: int
    only_first: int
    only_second: int
    neither: int


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> Interval:
    """The interval of a rate that Wilson's score test does not reject: inside 0 to 1, also at 0 of n.

    Args:
        successes: How many trials succeeded.
        trials: How many there were; they must not depend on each other.
        level: How often such an interval should hold the true rate.

    Raises:
        DataError: If there is no trial, or not between none and all of them succeeded.

    References:
        Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the
        American Statistical Association 22, 1927.

    Example:
        >>> tuple(round(end, 3) for end in wilson_interval(0, 10))
        (0.0, 0.278)
    """
    if not 0 <= successes <= trials or trials < 1:
        raise DataError(f"{successes} successes of {trials} trials is no rate. Give at least one trial.")
    z = float(special.ndtri((1 + level) / 2))
    rate, spread = successes / trials, z * z / trials
    middle = (rate + spread / 2) / (1 + spread)
    half = z * math.sqrt(rate * (1 - rate) / trials + spread / (4 * trials)) / (1 + spread)
    low = 0.0 if successes == 0 else middle - half
    high = 1.0 if successes == trials else middle + half
    return low, high


def paired_interval(table: PairedTable, level: float = 0.95) -> Interval:
    """The interval of the second rate less the first, where both were tried on the same occasions.

    Wilson's intervals of the two rates are put together, allowing for how far the two go together.

    Args:
        table: The occasions, counted.
        level: How often such an interval should hold the true difference.

    Raises:
        DataError: If there is no occasion.

    References:
        Newcombe, "Improved confidence intervals for the difference between binomial proportions based on
        paired data", Statistics in Medicine 17, 1998: method 10.

    Example:
        >>> table = PairedTable(both=4, only_first=1, only_second=7, neither=8)
        >>> tuple(round(end, 3) for end in paired_interval(table))
        (0.026, 0.516)
    """
    trials = sum(table)
    below_first, above_first = _reach(table.both + table.only_first, trials, level)
    below_second, above_second = _reach(table.both + table.only_second, trials, level)
    together = _together(table)
    difference = (table.only_second - table.only_first) / trials

    def joined(one: float, other: float) -> float:
        return math.sqrt(max(one * one + other * other - 2 * together * one * other, 0.0))

    return (
        max(-1.0, difference - joined(below_second, above_first)),
        min(1.0, difference + joined(above_second, below_first)),
    )


def _reach(successes: int, trials: int, level: float) -> tuple[float, float]:
    """How far Wilson's interval reaches below and above the rate."""
    low, high = wilson_interval(successes, trials, level)
    return successes / trials - low, high - successes / trials


def _together(table: PairedTable) -> float:
    """Newcombe's correlation of the two: corrected for continuity where they agree."""
    both, only_first, only_second, neither = table
    sides = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if sides == 0:
        return 0.0
    product = both * neither - only_first * only_second
    return (max(product - sum(table) / 2, 0) if product > 0 else product) / math.sqrt(sides)


def pairs_needed(table: PairedTable, level: float = 0.05, power: float = 0.8) -> int | None:
    """About how many occasions an exact test needs to tell a difference as large as this one; None for none.

    Args:
        table: The occasions so far, counted.
        level: Below which p a difference is called one.
        power: How often such a difference should be found.

    References:
        Connor, "Sample size for testing differences in proportions for the paired-sample design",
        Biometrics 43, 1987.
    """
    apart = (table.only_first + table.only_second) / sum(table)
    difference = abs(table.only_second - table.only_first) / sum(table)
    if difference == 0:
        return None
    of_level, of_power = (float(special.ndtri(p)) for p in (1 - level / 2, power))
    root = of_level * math.sqrt(apart) + of_power * math.sqrt(apart - difference**2)
    return math.ceil((root / difference) ** 2 + 1 / difference)
