import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hf_transfer import ImageClassification, RunConfig, freeze
from hf_transfer.errors import RunError
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.study.final.soup import average_weights, check_start, judge_soup, renew_statistics
from hf_transfer.training.start import fresh_model, start_hash

DIGITS = RunConfig(base_model="builtin:digits-resnet", trainable="last:2", final="soup", sealed=0.1)
CPU = torch.device("cpu")


def digits(seed: int, config: RunConfig = DIGITS) -> nn.Module:
    return fresh_model(ImageClassification(config, "abcde"), config, seed, CPU)


def fold(start: str | None) -> FoldResult:
    return FoldResult(0, 0, 10, 5, 0, start_hash=start)


@pytest.mark.parametrize("number", [2, 3, 5, 7])
def test_the_soup_of_equal_models_is_the_model(number):
    model = digits(1)
    soup = average_weights(copy.deepcopy(model) for _ in range(number))
    wanted = model.state_dict()
    for name, tensor in soup.state_dict().items():
        assert torch.equal(tensor, wanted[name]), name


@given(st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=6))
def test_the_soup_is_the_mean_of_each_weight(values):
    models = [nn.Linear(2, 3) for _ in values]
    for model, value in zip(models, values, strict=True):
        nn.init.constant_(model.weight, value)
        nn.init.constant_(model.bias, 2 * value)
    soup = average_weights(models)
    np.testing.assert_allclose(soup.weight.detach(), np.mean(values), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(soup.bias.detach(), 2 * np.mean(values), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([], "There are no models to average"),
        ([nn.Linear(2, 2)], "one model only, and a mean takes two"),
        ([nn.Linear(2, 2), nn.Linear(2, 3)], "Model 2 has other weights than the first"),
    ],
)
def test_what_has_no_mean_is_refused(models, message):
    with pytest.raises(RunError, match=message):
        average_weights(models)


def test_a_soup_of_different_random_starts_is_refused():
    own = RunConfig(base_model="builtin:digits-resnet", trainable="last:2")
    models = [digits(seed, own) for seed in (1, 2)]
    assert not torch.equal(*(model.timm_model.fc.weight for model in models))
    starts = [start_hash(model, DIGITS) for model in models]
    with pytest.raises(RunError, match=r"did not start from the same weights.*final=soup"):
        check_start([fold(start) for start in starts])
    with pytest.raises(RunError, match="did not start from the same weights"):
        check_start([fold(start_hash(model, own)) for model in models])


def test_folds_of_a_soup_share_their_start_and_nothing_else():
    starts, draws = set(), []
    for seed in (1, 2, 3):
        starts.add(start_hash(digits(seed), DIGITS))
        draws.append(torch.rand(1).item())  # what dropout would draw next
    assert check_start([fold(start) for start in starts]) in starts
    assert len(set(draws)) == 3


class Small(nn.Module):
    """A convolution, a normalisation and a head, as `layer_groups` divides them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Linear(2, 2)

    def forward(self, pixel_values):
        return self.head(self.norm(self.conv(pixel_values)).mean((2, 3)))


def test_statistics_are_those_of_what_the_soup_puts_out():
    model = Small()
    freezing = freeze(model, "all")
    batches = [{"pixel_values": torch.rand(8, 1, 4, 4), "labels": torch.zeros(8)} for _ in range(3)]
    assert renew_statistics(model, freezing, model, batches) == 1
    put_out = [model.conv(batch["pixel_values"]) for batch in batches]
    means = torch.stack([values.mean((0, 2, 3)) for values in put_out]).mean(0)
    spreads = torch.stack([values.transpose(0, 1).flatten(1).var(1) for values in put_out]).mean(0)
    torch.testing.assert_close(model.norm.running_mean, means)
    torch.testing.assert_close(model.norm.running_var, spreads)
    assert model.norm.momentum == 0.1
    assert not any(module.training for module in model.modules())


def test_frozen_statistics_stay_as_they_are():
    model = digits(0)
    freezing = freeze(model, "head")
    before = copy.deepcopy(model.state_dict())
    assert renew_statistics(model, freezing, model, [{"pixel_values": torch.rand(4, 1, 32, 32)}]) == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("soup", "members", "higher", "accepted"),
    [
        (0.90, [0.90, 0.90], True, True),
        (0.89, [0.90, 0.90], True, False),  # no spread, no slack
        (0.86, [0.95, 0.85], True, True),  # needed: 0.9 less sqrt(0.005 * (1 / 2 + 1))
        (0.80, [0.95, 0.85], True, False),
        (0.50, [0.40, 0.42], False, False),
        (0.39, [0.40, 0.42], False, True),
        (None, [0.9, 0.9], True, False),
        (0.9, [0.9, None], True, False),
    ],
)
def test_a_soup_must_be_as_good_as_its_members_less_one_error(soup, members, higher, accepted):
    found = judge_soup("f1", soup, members, higher_is_better=higher)
    assert found.accepted is accepted
    assert found.metric == "f1"


def test_the_error_is_the_corrected_one():
    found = judge_soup("f1", 0.5, [0.95, 0.85], higher_is_better=True)
    assert found.members == pytest.approx(0.9)
    assert found.needed == pytest.approx(0.9 - np.sqrt(0.005 * (1 / 2 + 1)))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.floats(0, 1))
def test_turning_the_metric_around_changes_nothing(members, soup):
    up = judge_soup("f1", soup, members, higher_is_better=True)
    down = judge_soup("loss", -soup, [-score for score in members], higher_is_better=False)
    assert up.accepted == down.accepted
    assert judge_soup("f1", up.members, members, higher_is_better=True).accepted
