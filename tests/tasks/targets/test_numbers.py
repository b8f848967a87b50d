import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from hf_transfer import RunConfig
from hf_transfer.errors import DataError
from hf_transfer.tasks.targets.labels import LabelColumn
from hf_transfer.tasks.targets.number_column import quantile_bins
from hf_transfer.tasks.targets.numbers import Numbers
from hf_transfer.training.scale import fold_scale, scaled, unfold_scale

NUMBERS = Numbers(["stars"])
HUBER = Numbers(["stars"], RunConfig(number_loss="huber"))
SEVERAL = Numbers(["stars", "price"])


def read(*values, name="stars"):
    return Numbers.read([LabelColumn(column, f"column {name!r}", name=name) for column in values])


@pytest.mark.parametrize("target", [NUMBERS, HUBER, SEVERAL])
def test_a_loss_is_that_of_pytorch_over_the_rows_that_count(target):
    torch.manual_seed(0)
    size = len(target.label_names)
    outputs, labels = torch.randn(2, 3, 7, size), torch.randn(2, 7, size)
    labels[1, 5:] = target.missing
    loss, weight = target.head_losses(outputs, labels)
    known = {"mse": functional.mse_loss, "huber": functional.huber_loss}
    plain = known["huber" if target is HUBER else "mse"]
    for fold, count in ((0, 7), (1, 5)):
        assert weight[fold].tolist() == [count * size]
        for head in range(3):
            wanted = plain(outputs[fold, head, :count], labels[fold, :count], reduction="sum")
            assert loss[fold, head] == pytest.approx(float(wanted), rel=1e-5)
    assert target.loss(outputs[1, 2], labels[1]) == pytest.approx(float(loss[1, 2]), rel=1e-6)
    assert target.weight(labels[1]) == 5 * size


class Model(nn.Module):
    """A backbone, and the output layer that numbers are folded into."""

    def __init__(self, size):
        super().__init__()
        self.block, self.classifier = nn.Linear(4, 4), nn.Linear(4, size)
        self.config = type("Config", (), {"num_labels": size, "model_type": "none"})()

    def forward(self, x):
        return self.classifier(torch.tanh(self.block(x)))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.integers(1, 3))
def test_the_scale_is_folded_into_the_output_layer(seed, mean, spread, size):
    torch.manual_seed(seed)
    model, x = Model(size), torch.randn(6, 4)
    before = model(x).detach()
    units = spread * (1 - torch.arange(size) / 4)  # each number has a scale of its own
    scale = torch.stack([mean + units, units])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "hf_transfer.training.scale.output_layer", lambda one, **_: ("classifier", one.classifier)
        )
        fold_scale(model, scale)
        near = 2e-5 * max(1.0, abs(mean), spread)
        assert torch.allclose(model(x), before * scale[1] + scale[0], atol=near)
        assert torch.allclose(scaled(model(x), scale), before, atol=4 * near / spread)
        unfold_scale(model, scale)
        assert torch.allclose(model(x), before, atol=4 * near / spread)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-5, 40), min_size=1, max_size=200), st.integers(1, 30))
def test_bins_are_in_order_and_none_is_small(values, fewest):
    numbers = np.asarray(values, float)
    bins, names = quantile_bins(numbers, fewest)
    order = np.argsort(numbers, kind="stable")
    assert (np.diff(bins[order]) >= 0).all()
    assert (np.diff(bins[order])[np.diff(numbers[order]) == 0] == 0).all()  # equal numbers share a bin
    assert set(bins.tolist()) == set(range(len(names)))
    assert len(names) <= 10
    assert len(names) == 1 or np.bincount(bins).min() >= fewest


def test_numbers_are_read_from_numbers_and_texts():
    found = read([1, 2.5, "3.25", "-4"], [0.5])
    assert (found.names, found.ids) == (("stars",), ([1.0, 2.5, 3.25, -4.0], [0.5]))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.5, None, float("nan"), 2.0], "2 rows without a label in column 'stars': rows 1, 2 "),
        (
            [0.5, "good", 1.0],
            "1 row whose label in column 'stars' is no finite number: row 1 .* is 'good'. Correct",
        ),
        ([0.5, float("inf")], "1 row whose label in column 'stars' is no finite number: row 1"),
        ([0.5, 0.5], "All 2 rows have the number 0.5 in column 'stars'; there is nothing to learn"),
    ],
)
def test_what_is_no_number_is_refused(values, message):
    with pytest.raises(DataError, match=message):
        read(values)


def test_settings_of_classes_do_not_go_with_numbers():
    wrong = RunConfig(class_weights="balanced", label_smoothing=0.1, at_specificity=0.9)
    assert [problem.split(" is ")[0] for problem in NUMBERS.problems(wrong)] == [
        "label_smoothing=0.1",
        "class_weights='balanced'",
        "at_specificity=0.9",
    ]
    assert (
        "cannot solve for numbers; use ridge"
        in NUMBERS.problems(RunConfig(trainable="head", head_solver="lbfgs"))[0]
    )
