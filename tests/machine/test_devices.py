import torch

from hf_transfer.machine.devices import arithmetic_of, fuses_updates, on_processor

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
