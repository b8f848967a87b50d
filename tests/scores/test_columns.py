"""The scale of columns: fitted to some rows, the same in numpy and torch, and silent where nothing varies."""

import numpy as np
import pytest
import torch

from hf_transfer.scores.columns import fit_columns, scale_columns

LACKING = (1, 1, 2, 3)  # a number with whether it is missing, and two places of 0 and 1


def rows(num_rows=50, seed=0):
    rng = np.random.default_rng(seed)
    missing = (rng.random(num_rows) < 0.3).astype(float)
    places = np.eye(2)[rng.integers(2, size=num_rows)]
    numbers = (2000 + 10 * rng.normal(size=num_rows)) * (1 - missing)
    return np.column_stack([numbers, missing, places])


def test_present_numbers_have_mean_0_and_deviation_1_and_missing_ones_the_mean():
    values = rows()
    scaled = scale_columns(values, *fit_columns(values, LACKING), list(LACKING))
    there = values[:, 1] == 0
    assert scaled[there, 0].mean() == pytest.approx(0, abs=1e-9)
    assert scaled[there, 0].std() == pytest.approx(1)
    assert (scaled[~there, 0] == 0).all()
    assert (scaled[:, 1:] == values[:, 1:]).all()


def test_unit_and_start_of_a_number_do_not_matter():
    values, others = rows(), rows()
    others[:, 0] = (values[:, 0] * 1000 - 7) * (1 - values[:, 1])
    one, two = (scale_columns(v, *fit_columns(v, LACKING), list(LACKING)) for v in (values, others))
    assert one == pytest.approx(two, abs=1e-9)


@pytest.mark.parametrize("column", [[0.0, 1.0], [5.0, 0.0], [0.1, 0.0]])
def test_what_does_not_vary_says_nothing_of_other_rows(column):
    values = np.column_stack([np.tile(column, (9, 1)), np.ones(9), np.zeros(9)])
    found = scale_columns(rows(), *fit_columns(values, LACKING), list(LACKING))
    assert np.isfinite(found).all()
    assert (found == 0).all()


def test_torch_gives_what_numpy_does():
    values = rows()
    fitted = fit_columns(values, LACKING)
    tensors = [torch.from_numpy(one) for one in (values, *fitted)]
    found = scale_columns(*tensors, torch.tensor(LACKING))
    assert found.numpy() == pytest.approx(scale_columns(values, *fitted, list(LACKING)))
