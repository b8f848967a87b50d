import pytest
import torch

from hf_transfer.machine.devices import (
    arithmetic_of,
    fuses_updates,
    has_doubles,
    moved,
    on_processor,
    seeded,
)

PROCESSOR = torch.device("cpu")


def told(device, monkeypatch, **module):
    from types import SimpleNamespace

    monkeypatch.setattr(torch, "get_device_module", lambda _: SimpleNamespace(**module))
    return torch.device(device)


def test_a_processor_is_told_from_an_accelerator():
    assert on_processor(PROCESSOR)
    assert not on_processor(torch.device("cuda"))
    assert fuses_updates(PROCESSOR)


def test_a_store_is_of_one_model_of_accelerator(monkeypatch):
    assert arithmetic_of(PROCESSOR) == "cpu"
    one = told("cuda", monkeypatch, get_device_name=lambda device: "A100")
    assert arithmetic_of(one) == "A100"
    assert arithmetic_of(told("mps", monkeypatch)) == "mps"


@pytest.mark.parametrize(("kind", "named"), [("xpu", [torch.device("xpu")]), ("mps", [])])
def test_draws_go_on_after_a_block_with_a_seed_of_its_own(kind, named, monkeypatch):
    """On the processor and on a device; Apple's has no number."""
    asked = []

    def get_rng_state(*which):
        asked.append(list(which))
        return torch.tensor([7])

    def set_rng_state(state, *which):
        asked.append([state.tolist(), *which])

    device = told(kind, monkeypatch, get_rng_state=get_rng_state, set_rng_state=set_rng_state)
    torch.manual_seed(0)
    wanted = torch.rand(2)
    torch.manual_seed(0)
    with seeded(3, device):
        assert not torch.equal(torch.rand(2), wanted)
    assert torch.equal(torch.rand(2), wanted)
    assert asked == [named, [[7], *named]]


def test_only_apples_has_no_doubles():
    assert has_doubles(PROCESSOR)
    assert not has_doubles(torch.device("mps"))


def test_weights_that_are_shared_stay_so_where_a_move_makes_other_parameters():
    parts = torch.nn.ModuleDict({name: torch.nn.Linear(2, 2) for name in "abc"})
    parts["b"].weight = parts["a"].weight
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # as on an NPU
    try:
        there = moved(parts, torch.device("cpu"))
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)
    assert there["a"].weight is there["b"].weight
    assert there["a"].weight is not there["c"].weight
    assert len(list(there.parameters())) == 5
