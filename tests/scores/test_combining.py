"""Weights of several models' probabilities, and what they claim."""

from dataclasses import replace

import numpy as np
import pytest

from hf_transfer.scores.combining import WEIGHTED, BlockProblem, Outputs, shares_of, together, weigh
from hf_transfer.scores.regression import LinearProblem

CLASSES = 4


def logits(labels: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Logits that tell the class as well as their strength says; of strength 0 they are noise."""
    return strength * np.eye(CLASSES)[labels] + rng.standard_normal((len(labels), CLASSES))


def outputs(strengths: list[float], *, num_rows: int = 200, seed: int = 0) -> Outputs:
    rng = np.random.default_rng(seed)
    inner, held_out = rng.integers(CLASSES, size=num_rows), rng.integers(CLASSES, size=num_rows)
    inside = np.stack([logits(inner, strength, rng) for strength in strengths])
    known = np.stack([logits(inner, 9.0, rng) for _ in strengths])  # heads that know their rows by heart
    return Outputs(inside, inner, known, inner, np.stack([logits(held_out, s, rng) for s in strengths]))


@pytest.mark.parametrize("way", WEIGHTED)
def test_weights_are_shares(way):
    found = outputs([2.0, 1.0, 0.0]).weights(way)
    assert found.shape == (3,)
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(1)


@pytest.mark.parametrize("way", ["pick", "greedy", "nnls"])
def test_noise_gets_a_weight_near_nothing(way):
    weights = [outputs([2.0, 0.0], seed=seed).weights(way)[1] for seed in range(40)]
    assert np.mean(weights) < 0.05


@pytest.mark.parametrize("way", WEIGHTED)
def test_a_copy_changes_no_answer(way):
    alone = outputs([2.0])
    both = replace(
        alone,
        inner=np.repeat(alone.inner, 2, axis=0),
        train=np.repeat(alone.train, 2, axis=0),
        valid=np.repeat(alone.valid, 2, axis=0),
    )
    np.testing.assert_allclose(both.combined(way), alone.combined("pick"), atol=1e-12)


def test_two_that_err_apart_are_better_together():
    rng = np.random.default_rng(0)
    labels = rng.integers(CLASSES, size=2000)
    shares = shares_of(np.stack([logits(labels, 2.0, rng) for _ in range(3)]), np.ones(3))
    alone = [(one.argmax(axis=1) == labels).mean() for one in shares]
    for way in ("mean", "greedy", "nnls"):
        joined = together(weigh(way, shares, labels), shares)
        assert (joined.argmax(axis=1) == labels).mean() > max(alone) + 0.05


def test_a_member_that_is_too_sure_is_calibrated_first():
    found = outputs([2.0, 2.0])
    sure = replace(found, inner=found.inner * [[[20.0]], [[1.0]]], valid=found.valid * [[[20.0]], [[1.0]]])
    np.testing.assert_allclose(sure.combined("mean"), found.combined("mean"), atol=0.02)
    assert sure.temperatures[0] > 10 * sure.temperatures[1]


def test_training_rows_claim_what_held_out_rows_do_not_give():
    found = outputs([2.0, 0.5])
    shares, _ = found.by_training_rows("nnls")
    assert (shares.argmax(axis=1) == found.train_labels).mean() > 0.99
    held_out = found.combined("nnls")
    assert held_out.shape == (200, CLASSES)


def test_greedy_of_one_good_member_is_that_member():
    found = outputs([3.0, 0.0, 0.0])
    assert found.weights("greedy")[0] > 0.9


def test_blocks_weigh_alike_however_wide():
    """A wide block of copies says no more than one column, and may not be penalised less for it."""
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=60)
    first, second = (rng.standard_normal((60, 1)) + labels[:, None] for _ in range(2))
    wide = np.hstack([first, np.repeat(second, 50, axis=1)])
    narrow = LinearProblem(np.hstack([first, second]), labels, 2).solve([0.1])[0.1]
    block = BlockProblem(wide, labels, 2, widths=(1, 50))
    scale = np.mean(block.widths)  # of the penalty
    found = block.solve([0.1 * scale])[0.1 * scale]
    np.testing.assert_allclose(found.scores(wide), narrow.scores(np.hstack([first, second])), atol=1e-6)
