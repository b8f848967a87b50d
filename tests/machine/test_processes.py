"""Barriers without devices, and a look at whether processes share a folder; threads stand for processes."""

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch.distributed as dist

import hf_transfer
from hf_transfer.errors import RunError
from hf_transfer.machine import processes
from hf_transfer.machine.environment import pool_size, usable_cores
from hf_transfer.machine.processes import Meeting, blind_to, wait_for_all

PACKAGE = Path(hf_transfer.__file__).parent


def test_nobody_passes_before_all_have_come_and_it_can_be_used_again():
    store, came = dist.HashStore(), []

    def process(rank):
        meeting = Meeting(store, rank, 3)
        for turn in range(3):
            time.sleep(0.02 * rank)
            came.append(turn)
            meeting.wait()
            assert came.count(turn) == 3

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(process, range(3)))
    assert sorted(came) == [0] * 3 + [1] * 3 + [2] * 3


def test_one_that_ended_is_noticed_and_one_that_is_late_is_waited_for(monkeypatch):
    monkeypatch.setattr(processes, "_LONGEST", 0.01)
    store = dist.HashStore()
    late = Meeting(store, 1, 2, beat_every=0.02, silent=0.2)
    threading.Timer(0.6, late.wait).start()  # three times as late as one may be silent
    here = Meeting(store, 0, 2, beat_every=0.02, silent=0.2)
    here.wait()
    store = dist.HashStore()  # nobody else ever beats there
    with pytest.raises(RunError, match=r"Another process of this launch has ended.*process 1 for 0 seconds"):
        Meeting(store, 0, 2, beat_every=0.02, silent=0.2).wait()


def test_a_store_whose_keeper_has_ended_ends_the_thread_that_beats():
    class Gone:
        def add(self, *_):
            raise RuntimeError("Broken pipe")

    before = threading.active_count()
    Meeting(Gone(), 0, 2)
    time.sleep(0.05)
    assert threading.active_count() == before


def test_one_process_waits_for_nobody():
    wait_for_all(SimpleNamespace(num_processes=1))


def test_no_module_takes_accelerates_barrier_which_names_a_device():
    for path in PACKAGE.rglob("*.py"):
        assert not re.search(r"wait_for_everyone\(|dist\.barrier\(", path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize(("others", "blind"), [([("b", True)], []), ([("b", False), ("c", True)], ["b"])])
def test_machines_that_do_not_see_the_main_ones_file_are_named(tmp_path, monkeypatch, others, blind):
    monkeypatch.setattr(processes, "broadcast_object_list", lambda items: items)
    monkeypatch.setattr(processes, "gather_object", lambda items: items + others)
    monkeypatch.setattr(processes, "wait_for_all", lambda _: None)
    accelerator = SimpleNamespace(num_processes=2, is_main_process=True)
    assert blind_to(accelerator, tmp_path) == blind
    assert list(tmp_path.iterdir()) == []
    assert blind_to(SimpleNamespace(num_processes=1), tmp_path / "nowhere") == []


def test_a_file_that_is_written_elsewhere_does_not_show_up(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_SHOWS_UP", 0.01)
    monkeypatch.setattr(processes, "_LONGEST", 0.01)
    assert not processes._shows_up(tmp_path / "a")
    (tmp_path / "a").touch()
    assert processes._shows_up(tmp_path / "a")


@pytest.mark.parametrize("processes_here", [1, 2, 10_000])
def test_pools_are_sized_by_cores_and_processes_and_not_by_torchs_threads(monkeypatch, processes_here):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes_here))
    assert pool_size() == max(1, usable_cores() // processes_here)
