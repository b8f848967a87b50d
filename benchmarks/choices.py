"""How much too good the best of several configurations looks on the folds that it was chosen on."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from simulation import Floats

from hf_transfer.scores.statistics import best_of

NUM_ROWS, NUM_FOLDS, NUM_CONFIGURATIONS = 200, 5, 16
MEAN_SKILL = 0.8
SHARED = 0.7  # weight of what makes a row hard for all configurations; two of them correlate by its square


@dataclass(frozen=True)
class Choice:
    """Errors against the true accuracy of the chosen configuration."""

    naive: float
    corrected: float


def draw_choices(spread: float, num_draws: int) -> list[Choice]:
    """Choose the best of 16 configurations, again and again.

    Args:
        spread: Standard deviation of their true accuracies.
        num_draws: How often.
    """
    return [_choose(spread, np.random.default_rng(seed), seed) for seed in range(num_draws)]


def _choose(spread: float, rng: np.random.Generator, seed: int) -> Choice:
    skills = MEAN_SKILL + spread * rng.normal(size=NUM_CONFIGURATIONS)
    right = _rows(skills, rng.normal)
    chosen = int(right.mean(axis=1).argmax())
    corrected = best_of(right, np.arange(NUM_ROWS) % NUM_FOLDS, seed=seed)
    assert corrected is not None
    return Choice(right[chosen].mean() - skills[chosen], corrected - skills[chosen])


def _rows(skills: Floats, normal: Callable[..., Floats]) -> Floats:
    """Draw which rows each configuration gets right, (16, 200): rows are hard for many at once."""
    hardness = SHARED * normal(size=NUM_ROWS)
    own = np.sqrt(1 - SHARED**2) * normal(size=(len(skills), NUM_ROWS))
    limits = ndtri(np.clip(skills, 0.01, 0.99))
    right: Floats = (hardness + own < limits[:, None]).astype(np.float64)
    return right
