import numpy as np
import pytest
import torch
from small_runs import plain_config
from torch import nn
from torch.func import functional_call, vmap

from hf_transfer.training.heads.linear import SharedInputs
from hf_transfer.training.heads.optimizer import StackedOptimizer

FOLDS, HEADS, ROWS = 3, 4, 5


def stacked(module):
    torch.manual_seed(0)
    return {
        name: torch.randn(FOLDS, HEADS, *p.shape, requires_grad=True) for name, p in module.named_parameters()
    }


def outputs(module, state, features):
    def one(own, x):
        return functional_call(module, own, (x,))

    return vmap(vmap(one, in_dims=(0, None)))(state, features)


@pytest.mark.parametrize("shape", [(ROWS,), (ROWS, 7)])
@pytest.mark.parametrize("bias", [True, False])
def test_heads_of_shared_features_equal_those_taken_one_by_one(shape, bias):
    module = nn.Sequential(nn.Linear(6, 8, bias=bias), nn.Tanh(), nn.Linear(8, 2, bias=bias))
    state, features = stacked(module), torch.randn(FOLDS, *shape, 6)
    found = []
    for shared in (True, False):
        if shared:
            with SharedInputs(module):
                logits = outputs(module, state, features)
        else:
            logits = outputs(module, state, features)
        found.append([logits, *torch.autograd.grad(logits.square().sum(), list(state.values()))])
    assert found[0][0].shape == (FOLDS, HEADS, *shape, 2)
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in zip(*found, strict=True))


def test_one_head_alone_is_as_it_was():
    layer, x = nn.Linear(6, 2), torch.randn(ROWS, 6, requires_grad=True)
    wanted = torch.autograd.grad(layer(x).square().sum(), [x, layer.weight, layer.bias])
    with SharedInputs(layer):
        found = torch.autograd.grad(layer(x).square().sum(), [x, layer.weight, layer.bias])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(wanted, found, strict=True))
    assert "forward" not in layer.__dict__


def between_each_other(shape):
    """Random numbers of (F, G, …), laid out so that heads lie between each other in memory."""
    return torch.randn(shape[0], *shape[2:], shape[1]).movedim(-1, 1)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_gradients_may_lie_in_memory_as_they_like(optimizer):
    config = plain_config(optimizer=optimizer, learning_rate=0.1)
    torch.manual_seed(0)
    start, gradient = torch.randn(FOLDS, HEADS, 2, 6), between_each_other((FOLDS, HEADS, 2, 6))
    assert not gradient.is_contiguous()
    found = []
    for given in (gradient, gradient.contiguous()):
        state = {"weight": start.clone()}
        stepper = StackedOptimizer(state, {"weight": True}, [config] * HEADS, [1] * FOLDS)
        for _ in range(2):
            stepper.step({"weight": given.clone()}, np.ones((FOLDS, HEADS), bool), [1.0] * FOLDS)
        found.append(state["weight"])
    assert torch.allclose(*found, atol=1e-6)
    assert not torch.equal(found[0], start)
