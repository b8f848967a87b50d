from dataclasses import replace

import pytest
import torch
from small_runs import plain_config

from hf_transfer.training.moments import make_moments
from hf_transfer.training.optimizer import make_optimizer
from hf_transfer.training.state import Undo


def learned(kind: str, *, before: bool) -> list[torch.Tensor]:
    torch.manual_seed(0)
    weights = [torch.randn(3, 4, requires_grad=True), torch.randn(4, requires_grad=True)]
    config = replace(plain_config(), optimizer=kind)
    groups = [
        {"params": [w], "lr": 0.1, "weight_decay": decay}
        for w, decay in zip(weights, (0.1, 0.0), strict=True)
    ]
    optimizer = make_optimizer(groups, config)
    if before:
        make_moments(optimizer)
    for step in range(3):
        for weight in weights[: 1 + bool(step)]:  # one gets its first gradient later
            weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(step))
        optimizer.step()
        optimizer.zero_grad()
    return [weight.detach() for weight in weights]


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_moments_that_are_made_before_the_first_step_change_no_weight(kind):
    for ours, theirs in zip(learned(kind, before=True), learned(kind, before=False), strict=True):
        assert torch.equal(ours, theirs)


def test_moments_that_were_made_by_half_are_made_anew(monkeypatch):
    weight = torch.ones(3, requires_grad=True)
    optimizer = make_optimizer([{"params": [weight], "lr": 0.1}], plain_config())
    optimizer.state[weight] = {"step": torch.zeros(()), "exp_avg": torch.zeros(3)}  # and no room for the rest
    make_moments(optimizer)
    assert {name: value.abs().sum().item() for name, value in optimizer.state[weight].items()} == {
        "step": 0, "exp_avg": 0, "exp_avg_sq": 0,
    }  # fmt: skip
    assert weight.tolist() == [1, 1, 1]


def test_a_try_at_an_update_is_taken_back_whole():
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    undo = Undo(optimizer, [*model.parameters(), *model.buffers()], torch.device("cpu"))

    def tried() -> tuple[list[torch.Tensor], torch.Tensor]:
        output = model(torch.arange(6.0).reshape(2, 3))
        output.sum().backward()
        return [buffer.clone() for buffer in model.buffers()], output.detach()

    undo.keep()
    once = tried()
    undo()
    assert all(parameter.grad is None for parameter in model.parameters())
    again = tried()
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(once[0], again[0], strict=True))
    assert torch.equal(once[1], again[1])  # by the same draws
