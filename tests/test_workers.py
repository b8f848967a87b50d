import pytest

from hf_transfer.workers import _backend


@pytest.mark.parametrize(
    ("processes", "gpus", "expected"),
    [("1", 0, None), ("2", 0, None), ("1", 1, None), ("4", 4, None), ("4", 1, "gloo"), ("3", 2, "gloo")],
)
def test_processes_that_share_a_gpu_do_not_meet_through_nccl(monkeypatch, processes, gpus, expected):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    assert _backend() == expected
