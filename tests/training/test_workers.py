import pytest

from hf_transfer.errors import RunError
from hf_transfer.training.workers import _backend, others_needed


@pytest.mark.parametrize(
    ("processes", "gpus", "expected"),
    [("1", 0, None), ("2", 0, None), ("1", 1, None), ("4", 4, None), ("4", 1, "gloo"), ("3", 2, "gloo")],
)
def test_processes_that_share_a_gpu_do_not_meet_through_nccl(monkeypatch, processes, gpus, expected):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    monkeypatch.setattr("torch.accelerator.device_count", lambda: gpus)
    assert _backend() == expected


GLOO = (
    "[pair.cc:561] Connection closed by peer [127.0.0.1]:29382. This is typically caused by a remote worker"
)


def test_a_process_that_lost_another_says_so():
    with (
        pytest.raises(RunError, match=r"Another process of this launch has ended.*to resume") as caught,
        others_needed(),
    ):
        raise RuntimeError(GLOO)
    assert str(caught.value.__cause__) == GLOO


@pytest.mark.parametrize("error", [RuntimeError("a defect"), RunError(f"told: {GLOO}"), ValueError(GLOO)])
def test_other_errors_are_left_as_they_are(error):
    with pytest.raises(type(error)) as caught, others_needed():
        raise error
    assert caught.value is error
