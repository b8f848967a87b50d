"""The memory that an optimizer needs beside the weights, taken before its first step."""

import torch

from hf_transfer import _guard  # noqa: F401


def make_moments(optimizer: torch.optim.Optimizer) -> None:
    """Give a new optimizer the memory of its moments, by a step that changes nothing.

    Otherwise its first step takes it. Where that does not fit, some weights have moved and others have not.
    """
    optimizer.state.clear()  # of a try before this one
    given = [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups]
    try:
        for group in optimizer.param_groups:
            group["lr"] = group["weight_decay"] = 0.0
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    finally:
        optimizer.zero_grad()
        for group, (rate, decay) in zip(optimizer.param_groups, given, strict=True):
            group["lr"], group["weight_decay"] = rate, decay
    for state in optimizer.state.values():
        if "step" in state:
            state["step"].zero_()
