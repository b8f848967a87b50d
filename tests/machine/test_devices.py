import torch

from hf_transfer.machine.devices import arithmetic_of, draws_of, fuses_updates, on_processor, restore_draws

PROCESSOR = torch.device("cpu")


def told(device, monkeypatch, **module):
    from types import SimpleNamespace

    monkeypatch.setattr(torch, "get_device_module", lambda _: SimpleNamespace(**module))
    return torch.device(device)


def test_a_processor_has_no_draws_of_its_own():
    assert on_processor(PROCESSOR)
    assert draws_of(PROCESSOR) is None
    restore_draws(PROCESSOR, torch.zeros(1))
    assert fuses_updates(PROCESSOR)


def test_a_store_is_of_one_model_of_accelerator(monkeypatch):
    assert arithmetic_of(PROCESSOR) == "cpu"
    one = told("cuda", monkeypatch, get_device_name=lambda device: "A100")
    assert arithmetic_of(one) == "A100"
    assert arithmetic_of(told("mps", monkeypatch)) == "mps"


def test_draws_are_those_of_the_device_meant(monkeypatch):
    states = {"cuda:1": torch.ones(2)}
    device = told(
        "cuda:1",
        monkeypatch,
        get_rng_state=lambda which: states[str(which)],
        set_rng_state=lambda state, which: states.update({str(which): state}),
    )
    kept = draws_of(device)
    restore_draws(device, None)
    assert draws_of(device) is kept
    restore_draws(device, torch.zeros(2))
    assert states["cuda:1"].sum() == 0


def test_apples_module_is_not_asked_which(monkeypatch):
    device = told("mps", monkeypatch, get_rng_state=lambda: torch.ones(1))
    assert draws_of(device) == 1
