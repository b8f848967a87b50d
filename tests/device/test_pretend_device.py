"""The pretend GPU itself: a device whose numbers are the processor's, and whose walls are a GPU's."""

import json
import subprocess
import sys

import pytest
from pretend_device import built, environment

ONE_STEP = """
import json, torch
torch.manual_seed(0)
x, layer = torch.randn(4, 3), torch.nn.Linear(3, 2)
there = layer.to("npu")(x.to("npu")).sum()
print(json.dumps([there.item(), str(there.device), torch.accelerator.current_accelerator().type]))
"""


def test_a_process_has_the_device():
    if not built():
        pytest.skip("The pretend GPU has not been built here (make test-device).")
    command = [sys.executable, "-c", ONE_STEP]
    found = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    value, device, accelerator = json.loads(found.stdout)
    assert (device, accelerator) == ("npu:0", "npu")

    import torch

    torch.manual_seed(0)
    x, layer = torch.randn(4, 3), torch.nn.Linear(3, 2)
    assert value == pytest.approx(layer(x).sum().item())


def learned(device):
    """Two updates of a small network with convolution, normalisations and dropout."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers = [
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.Flatten(),
        nn.Linear(64, 8),
        nn.LayerNorm(8),
        nn.Dropout(),
    ]
    model = nn.Sequential(*layers).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    batches = torch.randn(2, 4, 1, 6, 6)
    torch.manual_seed(1)  # dropout draws from a generator of the device
    for batch in batches:
        model(batch.to(device)).pow(2).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return {name: value.flatten().tolist() for name, value in model.state_dict().items()}


@pytest.mark.device
def test_what_is_learned_is_what_the_processor_learns(device):
    there, here = device.call(learned, "npu").checked(), learned("cpu")
    for name in here:
        assert there[name] == pytest.approx(here[name], abs=1e-5), name


def refusals():
    import torch

    there, found = torch.ones(3, device="npu"), {}
    for name, refused in {
        "mixed": lambda: there + torch.ones(3),
        "generator": lambda: torch.randn(3, device="npu", generator=torch.Generator()),
        "array": lambda: there.numpy(),
        "other": lambda: torch.ones(3, device="npu:1"),
    }.items():
        try:
            refused()
        except (RuntimeError, TypeError) as error:
            found[name] = str(error).splitlines()[0]
    return found


@pytest.mark.device
def test_it_refuses_what_a_gpu_refuses(device):
    found = device.call(refusals).checked()
    assert found.keys() == {"mixed", "generator", "array", "other"}
    assert "found at least two devices, npu:0 and cpu" in found["mixed"]
    assert "invalid device ordinal: 1 of 1" in found["other"]


def filled(rows):
    import torch

    kept = torch.zeros(rows, 1000, device="npu")
    half = torch.accelerator.memory_allocated()
    try:
        kept = torch.zeros(rows, 1000, device="npu")
    except torch.OutOfMemoryError as error:
        return [half, torch.accelerator.memory_allocated(), str(error).split(".")[0]]
    return [len(kept)]


@pytest.mark.device
def test_memory_ends(device):
    half, left, said = device.call(filled, 1000, memory=6_000_000).checked()
    assert half == left == 4_000_000
    assert said == "npu out of memory"


def waits():
    import torch

    x = torch.arange(4.0).to("npu")
    (x * 2 + 1).sum().item()
    x[x > 1].tolist()


@pytest.mark.device
def test_launches_and_waits_are_counted(device):
    answer = device.call(waits)
    kinds = {name for name in answer.counts if name.startswith("wait:")}
    assert kinds == {"wait:copy to the device", "wait:item", "wait:aten::nonzero", "wait:copy to the host"}
    assert answer.counts["waits"] == 4
    assert answer.counts["launch:aten::mul"] == 1


def hanging():
    import time

    time.sleep(60)


@pytest.mark.device
def test_a_call_that_fails_or_hangs_leaves_the_next_alone(device):
    assert device.call(hanging, seconds=0.5).error == "Ended: killed, as it took too long"
    assert "TypeError" in device.call(filled).error
    assert device.call(filled, 10).checked() == [10]
