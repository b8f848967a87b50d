import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hf_transfer.errors import DataError
from hf_transfer.scores.statistics import PairedTable, mcnemar, paired_interval, pairs_needed, wilson_interval

tables = st.tuples(*[st.integers(0, 40)] * 4).filter(any).map(lambda counts: PairedTable(*counts))


@given(st.integers(1, 400), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilsons_interval_is_that_of_scipy(trials: int, share: float, level: float) -> None:
    successes = round(share * trials)
    found = stats.binomtest(successes, trials).proportion_ci(level, method="wilson")
    assert wilson_interval(successes, trials, level) == pytest.approx((found.low, found.high), abs=1e-12)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 5)])
def test_what_is_no_rate_is_refused(successes: int, trials: int) -> None:
    with pytest.raises(DataError, match=r"is no rate. Give at least one trial"):
        wilson_interval(successes, trials)


@given(tables)
def test_the_interval_of_a_difference_holds_it_and_turns_with_its_sides(table: PairedTable) -> None:
    low, high = paired_interval(table)
    difference = (table.only_second - table.only_first) / sum(table)
    assert -1 <= low <= difference + 1e-12
    assert difference - 1e-12 <= high <= 1
    turned = PairedTable(table.both, table.only_second, table.only_first, table.neither)
    assert paired_interval(turned) == pytest.approx((-high, -low))


@pytest.mark.parametrize(
    "chances",
    [(0.25, 0.25, 0.25, 0.25), (0.6, 0.05, 0.25, 0.1), (0.05, 0.05, 0.15, 0.75)],
)
def test_it_holds_the_true_difference_as_often_as_it_says(chances: tuple[float, ...]) -> None:
    """Exactly: over every table that 30 pairs can give, weighted by how probable it is."""
    trials, covered = 30, 0.0
    true = chances[2] - chances[1]
    for cells in itertools.product(range(trials + 1), repeat=3):
        if sum(cells) <= trials:
            table = PairedTable(*cells, trials - sum(cells))
            low, high = paired_interval(table)
            probable = math.lgamma(trials + 1) + sum(
                n * math.log(p) - math.lgamma(n + 1) for n, p in zip(table, chances, strict=True)
            )
            covered += math.exp(probable) * (low <= true <= high)
    assert 0.935 < covered < 0.985


@pytest.mark.parametrize("chances", [(0.3, 0.1, 0.25, 0.35), (0.1, 0.02, 0.3, 0.58), (0.4, 0.2, 0.3, 0.1)])
def test_as_many_pairs_as_are_said_to_be_needed_find_such_a_difference(chances: tuple[float, ...]) -> None:
    needed = pairs_needed(PairedTable(*(round(1000 * p) for p in chances)))
    assert needed is not None
    drawn = np.random.default_rng(0).multinomial(needed, chances, size=5000)
    fewer, apart = drawn[:, 1:3].min(axis=1), drawn[:, 1:3].sum(axis=1)
    assert 0.74 < np.mean(2 * stats.binom.cdf(fewer, apart, 0.5) < 0.05) < 0.86


def test_no_number_of_pairs_tells_what_is_equal() -> None:
    assert pairs_needed(PairedTable(3, 4, 4, 9)) is None


@given(tables)
def test_the_exact_test_is_the_binomial_one(table: PairedTable) -> None:
    first = np.repeat([1, 1, 0, 0], table)
    second = np.repeat([1, 0, 1, 0], table)
    apart = table.only_first + table.only_second
    expected = stats.binomtest(table.only_first, apart).pvalue if apart else 1.0
    assert mcnemar(first, second).p == pytest.approx(expected)


def test_statsmodels_agrees_where_it_is_installed() -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    tables_of = pytest.importorskip("statsmodels.stats.contingency_tables")
    assert wilson_interval(7, 23) == pytest.approx(proportion.proportion_confint(7, 23, method="wilson"))
    first, second = np.repeat([1, 1, 0, 0], [9, 3, 11, 5]), np.repeat([1, 0, 1, 0], [9, 3, 11, 5])
    assert mcnemar(first, second).p == pytest.approx(tables_of.mcnemar([[9, 3], [11, 5]], exact=True).pvalue)
