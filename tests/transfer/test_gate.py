"""The gate: how rarely it opens where nothing is better, and what it needs."""

import numpy as np
import pytest
from scipy.stats import binomtest
from two_domains import two_domains

from hf_transfer.scores.shift.two_samples import two_sample_test
from hf_transfer.transfer.arms import Domains, coral, prototypes, z_scored
from hf_transfer.transfer.gate import judge_arms


def rights(*counts):
    """Rows that both heads, only the source's, only the arm, and neither has right."""
    source = np.repeat([True, True, False, False], counts)
    arm = np.repeat([True, False, True, False], counts)
    return source, arm


def test_opens_for_an_arm_that_is_better():
    source, arm = rights(10, 1, 12, 7)
    gate = judge_arms(0.001, source, {"coral": arm})
    assert gate.opened_for == "coral"
    assert (gate.arms[0].gained, gate.arms[0].lost) == (12, 1)
    assert gate.arms[0].p == pytest.approx(binomtest(12, 13, alternative="greater").pvalue)


@pytest.mark.parametrize(
    ("shift_p", "counts"),
    [(0.2, (10, 0, 15, 5)), (0.001, (10, 0, 12, 7)), (0.001, (10, 4, 9, 7)), (0.001, (10, 12, 1, 7))],
    ids=["no shift", "29 labels", "too little", "worse"],
)
def test_stays_shut(shift_p, counts):
    source, arm = rights(*counts)
    assert judge_arms(shift_p, source, {"coral": arm}).opened_for is None


def test_more_arms_need_more():
    source, arm = rights(12, 1, 8, 9)
    assert judge_arms(0.001, source, {"coral": arm}).opened_for == "coral"
    others = {f"arm {i}": source for i in range(3)}
    assert judge_arms(0.001, source, {"coral": arm, **others}).opened_for is None


def test_takes_the_arm_with_most_rows_right():
    source, arm = rights(5, 0, 12, 13)
    better = arm.copy()
    better[-2:] = True
    gate = judge_arms(0.001, source, {"one": arm, "two": better})
    assert gate.opened_for == "two"


@pytest.mark.parametrize("num_arms", [1, 5])
@pytest.mark.parametrize("agree", [0.0, 0.8])
def test_opens_in_at_most_five_percent_where_arms_are_as_good(num_arms, agree):
    """Even where the domains do differ: arms that agree with each other, or not."""
    random, draws = np.random.default_rng(0), 500
    opened = 0
    for _ in range(draws):
        source, first = random.random((2, 40)) < 0.6
        own = random.random((num_arms, 40)) < 0.6
        arms = np.where(random.random((num_arms, 40)) < agree, first, own)
        gate = judge_arms(0.0, source, {str(i): arm for i, arm in enumerate(arms)})
        opened += gate.opened_for is not None
    assert opened / draws <= 0.05


def test_without_labels_nothing_is_tested():
    gate = judge_arms(0.001, np.zeros(0, bool), {})
    assert gate.opened_for is None
    assert not gate.enough_labels


@pytest.mark.parametrize("missing", [pytest.param(False, marks=pytest.mark.slow), True])
def test_what_the_gate_lets_through_seldom_harms(missing):
    """On rows that the test has not seen: also where the target lacks a class, so that arms harm."""
    harmed = opened = ungated = 0
    for draw in range(40):
        both, truth = two_domains(draw, num_rows=100, moved=3.0)
        kept = np.flatnonzero(truth != 0) if missing else np.arange(100)
        both, truth = Domains(both.source, both.labels, both.target[kept], 3), truth[kept]
        heads = {"": both.head, "z": z_scored(both), "prototypes": prototypes(both)}
        right = {name: head.scores(both.target).argmax(1) == truth for name, head in heads.items()}
        gate = judge_arms(0.001, right[""][:35], {name: right[name][:35] for name in ("z", "prototypes")})
        opened += gate.opened_for is not None
        harmed += right[gate.opened_for or ""][35:].sum() < right[""][35:].sum()
        ungated += right["prototypes"][35:].sum() < right[""][35:].sum()
    assert opened >= 10
    assert ungated > harmed
    assert harmed / 40 <= 0.05


def test_the_whole_gate_stays_shut_without_shift():
    """Both conditions together, for arms that do adapt: published in at most 5 % of draws."""
    opened, draws = 0, 40
    for draw in range(draws):
        random = np.random.default_rng(draw)
        labels = random.integers(0, 2, 120)
        rows = random.normal(size=(120, 5)) + labels[:, None]
        both = Domains(rows[:60], labels[:60], rows[60:], 2)
        right = [
            arm(both).scores(rows[60:100]).argmax(1) == labels[60:100]
            for arm in (z_scored, coral, prototypes)
        ]
        source = both.head.scores(rows[60:100]).argmax(1) == labels[60:100]
        shift = two_sample_test(rows[:60], rows[60:], num_permutations=99, seed=draw)
        gate = judge_arms(shift.p, source, dict(zip("abc", right, strict=True)))
        opened += gate.opened_for is not None
    assert opened / draws <= 0.05
