import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.paired import (
    LEVEL,
    POWER,
    Pair,
    PairedBootstrap,
    RightRows,
    adjusted,
    corrected,
    folds_of,
    pair_folds,
    paired_scores,
)
from hf_transfer.scores.statistics import corrected_error, holm

GOLDEN = (0.02, 0.01, 0.03, 0.0, 0.04)  # with 5 folds, p is .132419
SCORES = st.lists(st.floats(0, 1, width=16), min_size=2, max_size=8)


def fold(number: int, score: float | None, metric: str = "accuracy", status: str = "done") -> FoldResult:
    scores = {} if status == "failed" else {metric: score}
    return FoldResult(0, number, 80, 20, 0, scores=scores, status=status)


def folds(scores: Any, metric: str = "accuracy") -> list[FoldResult]:
    return [fold(i, score, metric) for i, score in enumerate(scores)]


def pair(first: Any, second: Any, metric: str = "accuracy") -> Pair:
    sides = (("a", folds(first, metric)), ("b", folds(second, metric)))
    return pair_folds(*sides, metric, higher_is_better=metric != "log_loss")


def test_the_golden_difference_has_its_golden_p() -> None:
    found = pair([0.5] * 5, [0.5 + d for d in GOLDEN])
    assert found.p == pytest.approx(0.132419, abs=1e-6)
    assert found.mean == pytest.approx(0.02)
    assert found.interval == pytest.approx(
        (0.02 - 2.776445 * 0.0106066, 0.02 + 2.776445 * 0.0106066), abs=1e-6
    )


@settings(max_examples=60, deadline=None)
@given(SCORES, st.integers(0, 2**32 - 1))
def test_exchanging_the_two_changes_signs_only(first: list[float], seed: int) -> None:
    second = np.random.default_rng(seed).random(len(first)).tolist()
    one, other = adjusted([pair(first, second)])[0], adjusted([pair(second, first)])[0]
    assert one.mean == pytest.approx(-other.mean)
    assert one.p == pytest.approx(other.p)
    swapped = {"first is better": "second is better", "second is better": "first is better"}
    assert one.verdict == swapped.get(other.verdict, other.verdict)


@settings(max_examples=60, deadline=None)
@given(SCORES)
def test_a_run_is_the_same_as_itself(scores: list[float]) -> None:
    found = adjusted([pair(scores, scores)])[0]
    assert (found.verdict, found.mean, found.p) == ("same", 0, None)


def test_less_loss_is_better() -> None:
    high, low = [0.9, 0.92, 0.91, 0.93, 0.9], [0.5, 0.51, 0.52, 0.5, 0.53]
    assert adjusted([pair(high, low, "log_loss")])[0].verdict == "second is better"
    assert adjusted([pair(high, low)])[0].verdict == "first is better"


ROWS = RightRows(only_first=2, only_second=20, p=1e-4, repeat=0, num_rows=100)


@pytest.mark.parametrize(
    ("p", "rows", "verdict"),
    [
        (0.049, replace(ROWS, p=0.5), "second is better"),
        (0.05, ROWS, "second is likely better"),
        (0.199, ROWS, "second is likely better"),
        (0.2, ROWS, "can't tell"),
        (0.06, replace(ROWS, p=0.05), "can't tell"),
        (0.06, None, "can't tell"),
        (0.06, replace(ROWS, only_first=20, only_second=2), "can't tell"),  # the folds say otherwise
    ],
)
def test_a_verdict_is_likely_only_where_these_rows_are_decided(p: float, rows: Any, verdict: str) -> None:
    found = replace(pair([0.5] * 5, [0.5 + d for d in GOLDEN]), p_adjusted=p, rows=rows)
    assert found.verdict == verdict
    turned = rows and replace(rows, only_first=rows.only_second, only_second=rows.only_first)
    other = replace(pair([0.5 + d for d in GOLDEN], [0.5] * 5), p_adjusted=p, rows=turned)
    assert other.verdict == verdict.replace("second", "first")


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [((0.01, 0.2), "second is likely better"), ((-0.01, 0.2), "can't tell"), ((-0.2, -0.1), "can't tell")],
)
def test_tagged_words_are_decided_on_these_rows_by_the_bootstrap(ends: Any, verdict: str) -> None:
    found = pair([0.5] * 5, [0.5 + d for d in GOLDEN])
    assert replace(found, p_adjusted=0.1, bootstrap=PairedBootstrap(0.0, ends, "row")).verdict == verdict


def test_only_folds_that_both_finished_are_used() -> None:
    first = [fold(0, 0.5), fold(1, 0.6), fold(2, 0.7), fold(3, None, status="failed"), fold(4, None)]
    second = [fold(0, 0.6), fold(1, None, status="failed"), fold(2, 0.9), fold(3, 0.8), fold(4, 0.8)]
    found = pair_folds(("a", first), ("b", second), "accuracy", higher_is_better=True)
    assert list(found.differences) == ["r0f0", "r0f2"]
    assert found.left_out == ("r0f1", "r0f3", "r0f4")
    assert paired_scores(first, second, "accuracy") == {"r0f0": (0.5, 0.6), "r0f2": (0.7, 0.9)}


def test_no_shared_fold_leaves_nothing_to_say() -> None:
    found = adjusted(
        [pair_folds(("a", [fold(0, 0.5)]), ("b", [fold(1, 0.5)]), "accuracy", higher_is_better=True)]
    )[0]
    assert (found.mean, found.interval, found.p, found.verdict) == (None, None, None, "can't tell")


def test_equal_differences_are_no_certainty() -> None:
    found = adjusted([pair([0.5, 0.5], [0.75, 0.75])])[0]
    assert (found.mean, found.interval, found.p, found.verdict) == (0.25, None, None, "can't tell")


@pytest.mark.parametrize("values", [[], [0.3], [0.2, 0.2, 0.2]])
def test_too_few_or_equal_values_have_no_test(values: list[float]) -> None:
    assert corrected(values, 5) is None


def test_p_is_adjusted_for_all_pairs() -> None:
    rng = np.random.default_rng(0)
    pairs = [pair(rng.random(5), rng.random(5) + i / 2) for i in range(4)]
    found = adjusted(pairs)
    assert [one.p_adjusted for one in found] == pytest.approx(holm([one.p for one in pairs]).tolist())
    assert adjusted([]) == ()


def test_that_many_times_the_rows_would_be_enough() -> None:
    found = adjusted([pair([0.5] * 5, [0.5 + d for d in GOLDEN])])[0]
    assert found.times_the_rows is not None
    smaller = corrected_error(GOLDEN, 5) / math.sqrt(found.times_the_rows)
    # The t of 4 degrees of freedom at .975 and at .8.
    assert 0.02 / smaller == pytest.approx(2.776445 + 0.940965, abs=1e-5)
    assert (LEVEL, POWER) == (0.05, 0.8)


@settings(max_examples=60, deadline=None)
@given(SCORES, st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_what_cannot_be_told_needs_more_rows_than_there_are(
    first: list[float], seed: int, others: int
) -> None:
    second = np.random.default_rng(seed).random(len(first)).tolist()
    found = adjusted([pair(first, second)] * others)[0]
    if found.verdict == "can't tell" and found.times_the_rows is not None:
        assert found.times_the_rows > 1


def test_the_correction_follows_the_sizes_of_the_folds() -> None:
    assert folds_of(folds([0.5] * 5)) == pytest.approx(5)
    assert math.isnan(folds_of([fold(0, None, status="failed")]))
