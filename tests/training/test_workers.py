from types import SimpleNamespace

import pytest
import torch
from torch import nn

from hf_transfer import RunConfig
from hf_transfer.errors import ConfigError, RunError
from hf_transfer.training import workers as module
from hf_transfer.training.joint import JointUpdate
from hf_transfer.training.workers import (
    PATIENCE,
    Workers,
    _backend,
    _buckets,
    fold_parallel,
    make_accelerator,
    others_needed,
)


@pytest.mark.parametrize(
    ("processes", "gpus", "expected"),
    [("1", 0, None), ("2", 0, None), ("1", 1, None), ("4", 4, None), ("4", 1, "gloo"), ("3", 2, "gloo")],
)
def test_processes_that_share_a_gpu_do_not_meet_through_nccl(monkeypatch, processes, gpus, expected):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    monkeypatch.setattr("torch.accelerator.device_count", lambda: gpus)
    assert _backend() == expected


@pytest.mark.parametrize("parallel", ["data", "fsdp"])
def test_processes_that_outnumber_the_devices_share_no_batch(monkeypatch, parallel):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    monkeypatch.setattr("torch.accelerator.device_count", lambda: 2)
    with pytest.raises(ConfigError, match=rf"parallel='{parallel}' .* 3 processes have 2 here. Launch 2, or"):
        make_accelerator(RunConfig(parallel=parallel))
    assert fold_parallel(RunConfig(), SimpleNamespace(num_processes=3), 1)  # left to the kit: folds
    monkeypatch.setattr("torch.accelerator.device_count", lambda: 0)  # processors have no such number
    module._check_devices(RunConfig(parallel=parallel))
    assert not fold_parallel(RunConfig(), SimpleNamespace(num_processes=3), 1)


@pytest.mark.parametrize(
    ("plan", "version", "words"),
    [
        ("ACCELERATE_USE_DEEPSPEED", "2", r"plans DeepSpeed, by"),
        ("ACCELERATE_USE_FSDP", "1", r"plans FSDP \(version 1\), by"),
        ("ACCELERATE_USE_FSDP", "2", r"plans FSDP \(version 2\), by"),
    ],
)
def test_a_launchers_plan_for_the_model_is_refused(monkeypatch, plan, version, words):
    monkeypatch.setenv(plan, "true")
    monkeypatch.setenv("FSDP_VERSION", version)
    with pytest.raises(ConfigError, match=rf"{words} .*Launch without that plan and pass --parallel fsdp"):
        make_accelerator(RunConfig())


class Together(Workers):
    """One of two processes, the other of which gives what a test says."""

    def __init__(self, other=()):
        super().__init__(SimpleNamespace(num_processes=2, process_index=0), together=True)
        self.other = list(other)

    def total(self, value):
        return value + self.other.pop(0)


OUT = RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")


@pytest.mark.parametrize(("here", "there"), [(OUT, 0.0), (None, 1.0), (OUT, 1.0)])
def test_memory_that_runs_out_in_one_process_ends_the_attempt_of_all(here, there):
    joint = JointUpdate(Together([torch.tensor([2.0, there])]))
    with joint:
        if here:
            raise here
    with pytest.raises(RuntimeError, match="out of memory"):
        joint.agreed(torch.tensor(1.0))


def test_an_attempt_that_all_make_gives_the_sum():
    joint = JointUpdate(Together([torch.tensor([2.0, 0.0])]))
    with joint:
        pass
    assert joint.agreed(torch.tensor(1.0)) == 3


@pytest.mark.parametrize("error", [KeyError("a defect"), RuntimeError("a defect")])
def test_other_errors_end_the_process(error):
    with pytest.raises(type(error), match="a defect"), JointUpdate(Together()):
        raise error


def test_nobody_goes_on_alone_without_others_or_with_a_part_of_the_model():
    alone = Workers(SimpleNamespace(num_processes=1, process_index=0), together=True)
    sharded = Workers(SimpleNamespace(num_processes=2, process_index=0), together=True, sharded=True)
    for workers in (alone, sharded):
        with pytest.raises(RuntimeError, match="out of memory"), JointUpdate(workers):
            raise OUT


def test_gradients_are_summed_and_statistics_averaged_in_buckets(monkeypatch):
    monkeypatch.setattr(module, "_BUCKET", 10)
    sent = []

    def doubled(flat):
        sent.append(len(flat))
        flat.mul_(2)

    monkeypatch.setattr("torch.distributed.all_reduce", doubled)
    model = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    model[2].requires_grad_(False)
    model(torch.randn(3, 2)).sum().backward()
    before = [p.grad.clone() for p in model[:2].parameters()], model[1].running_mean.clone()
    Together().sum_gradients(model)
    assert all(torch.equal(p.grad, 2 * g) for p, g in zip(model[:2].parameters(), before[0], strict=True))
    assert torch.equal(model[1].running_mean, before[1])
    assert max(sent) <= 10
    assert sum(sent) == 8 + 4 + 4 + 4 + 4 + 4


def test_a_bucket_holds_one_type_and_every_tensor_once():
    tensors = [torch.zeros(3), torch.zeros(2, dtype=torch.float64), torch.zeros(4)]
    assert [[t.numel() for t in bucket] for bucket in _buckets(tensors)] == [[3, 4], [2]]


def test_no_wait_for_a_message_is_longer_than_a_person_would_bear():
    assert PATIENCE.total_seconds() <= 3600


GLOO = (
    "[pair.cc:561] Connection closed by peer [127.0.0.1]:29382. This is typically caused by a remote worker"
)


@pytest.mark.parametrize(
    "words",
    [
        GLOO,
        "[pair.cc:544] Timed out waiting 1800000ms for recv operation to complete",
        "Application timeout caused pair closure",
        "NCCL error in: ProcessGroupNCCL.cpp:3690, remote process exited or there was a network error",
        "ncclRemoteError: A call failed possibly due to a network error or a remote process exiting",
        "Socket Timeout",
        "failed to recv, got 0 bytes: Connection reset by peer",
    ],
)
def test_a_process_that_lost_another_says_so(words):
    with (
        pytest.raises(RunError, match=r"Another process of this launch has ended.*to resume") as caught,
        others_needed(),
    ):
        raise RuntimeError(words)
    assert str(caught.value.__cause__) == words


def test_an_error_of_the_communication_library_is_one_whatever_its_words():
    with pytest.raises(RunError, match="Another process of this launch has ended"), others_needed():
        raise torch.distributed.DistBackendError("in words of next year")


def test_memory_that_runs_out_where_the_others_wait_is_told_in_one_line():
    with pytest.raises(RunError, match="Memory ran out where processes share the work"), others_needed():
        raise OUT


@pytest.mark.parametrize("error", [RuntimeError("a defect"), RunError(f"told: {GLOO}"), ValueError(GLOO)])
def test_other_errors_are_left_as_they_are(error):
    with pytest.raises(type(error)) as caught, others_needed():
        raise error
    assert caught.value is error
