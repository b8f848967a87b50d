"""What is learned at a scale of columns, folded: the same logits from columns as they come."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from hf_transfer.models.two_towers import ExactLinear
from hf_transfer.training import column_scale as module
from hf_transfer.training.column_scale import ColumnScale, columns_scaled, of_folds

LACKING = torch.tensor([1, 1, 3, 3, 4, 5])
WIDTH = 3  # features before the table


def scale(seed=0, years=0.0):
    rng = np.random.default_rng(seed)
    mean = torch.tensor([years + rng.normal(), 0, 40 * rng.normal(), 0, 0, 0], dtype=torch.float32)
    factor = torch.tensor([1 / 5, 1, 1 / 80, 0, 1, 1], dtype=torch.float32)
    return ColumnScale(mean, factor, LACKING)


def features(found, rows=40, seed=1):
    rng = np.random.default_rng(seed)
    missing = torch.from_numpy(rng.random((rows, 2)) < 0.3).float()
    numbers = found.mean[[0, 2]] + torch.from_numpy(rng.normal(size=(rows, 2))).float() / found.factor[[0, 2]]
    numbers = numbers * (1 - missing)
    table = [numbers[:, 0], missing[:, 0], numbers[:, 1], missing[:, 1]]
    places = torch.from_numpy(np.eye(2, dtype=np.float32)[rng.integers(2, size=rows)])
    own = torch.from_numpy(rng.normal(size=(rows, WIDTH)).astype(np.float32))
    return torch.cat([own, torch.stack(table, 1), places], 1)


@pytest.fixture
def model(monkeypatch):
    torch.manual_seed(0)
    found = SimpleNamespace(output=nn.Linear(WIDTH + len(LACKING), 3))
    monkeypatch.setattr(module, "output_layer", lambda model, biased: ("output", model.output))
    return found


@pytest.mark.parametrize(("years", "near"), [(0.0, 1e-5), (2000.0, 1e-3)])
def test_the_folded_layer_gives_what_the_scaled_one_gave(model, years, near):
    found = scale(years=years)
    given = features(found)
    with columns_scaled(model, found):
        wanted = model.output(given)
        assert torch.equal(wanted, nn.functional.linear(found(given), model.output.weight, model.output.bias))
    assert (model.output(given) - wanted).abs().max() <= near * wanted.abs().max()
    assert not torch.equal(found(given), given)


def test_a_column_that_did_not_vary_has_no_weight_afterwards(model):
    with columns_scaled(model, scale()):
        pass
    given = features(scale())
    other = given.clone()
    other[:, WIDTH + 3] = 0  # its missing numbers count as the mean all the same
    other[:, WIDTH + 2] += scale().mean[2] * given[:, WIDTH + 3]
    assert (model.output(given) - model.output(other)).abs().max() <= 1e-5


def test_without_a_table_nothing_is_changed(model):
    before = model.output.weight.clone()
    with columns_scaled(model, None):
        pass
    assert torch.equal(model.output.weight, before)
    assert of_folds([None, None]) is None


def test_folds_together_are_at_their_own_scales():
    scales = [scale(seed) for seed in range(3)]
    given = torch.stack([features(one, seed=seed) for seed, one in enumerate(scales)])
    together = of_folds(scales)
    alone = torch.stack([one(rows) for one, rows in zip(scales, given, strict=True)])
    assert torch.equal(together(given), alone)


def test_numbers_keep_their_precision_where_half_would_do():
    layer, years = ExactLinear(1, 1), torch.tensor([[2017.0], [2019.0]])
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(years)
        coarse = nn.functional.linear(years, layer.weight, layer.bias)
    assert torch.equal(found, layer(years))
    assert coarse[0] == coarse[1] != found[1] != found[0]
