"""What the siege of the benchmarks does to a run is done, and is taken back."""

import itertools
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import HubServer

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import disturbances
from disturbances import Place


@pytest.fixture(scope="module")
def hub():
    with HubServer() as server:
        yield server


@pytest.fixture
def place(tmp_path, hub) -> Place:
    for name in ("run", "cache"):
        (tmp_path / name).mkdir()
    return Place(tmp_path, tmp_path / "run", tmp_path / "cache", hub)


@pytest.mark.parametrize("seed", range(12))
def test_one_stored_file_is_spoilt_and_no_other(place, seed):
    files = {place.run / name: bytes(range(200)) for name in ("a.json", "b.parquet", "c.txt")}
    for path, content in files.items():
        path.write_bytes(content)
    told = disturbances.damage(random.Random(seed), place)
    changed = [path for path, content in files.items() if not path.exists() or path.read_bytes() != content]
    assert [path.suffix in disturbances.STORED for path in changed] == [True]
    assert told.startswith(f"run/{changed[0].name}: ")


def test_an_empty_place_has_nothing_to_spoil(place):
    assert disturbances.damage(random.Random(0), place) == "nothing was stored"


def test_folders_may_be_written_to_again(place):
    modes = [place.run.stat().st_mode, place.cache.stat().st_mode]
    back = disturbances.read_only(0, random.Random(0), place)
    assert 0o555 in (place.run.stat().st_mode & 0o777, place.cache.stat().st_mode & 0o777)
    back()
    assert [place.run.stat().st_mode, place.cache.stat().st_mode] == modes


def test_a_process_is_killed_and_one_that_is_stopped_goes_on(place, monkeypatch):
    monkeypatch.setattr(disturbances.time, "sleep", lambda seconds: None)
    with subprocess.Popen(["sleep", "60"]) as child:
        disturbances.stop(child.pid, random.Random(0), place)
        assert child.poll() is None
        disturbances.kill(child.pid, random.Random(0), place)
        assert child.wait(10) == -signal.SIGKILL


def test_the_clock_jumps_back_once(monkeypatch):
    for name in ("time", "time_ns"):
        monkeypatch.setattr(disturbances.time, name, getattr(disturbances.time, name))
    disturbances.clock_back(random.Random(0))()
    seen = [disturbances.time.time() for _ in range(1100)]
    falls = [before - after for before, after in itertools.pairwise(seen) if after < before]
    assert len(falls) == 1
    assert 9 < falls[0] < 864_000


def test_few_files_can_be_open_in_the_child_alone():
    command = [sys.executable, "-c", "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"]
    most = subprocess.run(
        command,
        preexec_fn=disturbances.few_files(random.Random(0)),
        capture_output=True,
        check=True,
        text=True,
    )
    assert 8 <= int(most.stdout) <= 64
    assert os.sysconf("SC_OPEN_MAX") > 64


def test_faults_of_the_hub_are_taken_back(place):
    back = disturbances.bad_hub(random.Random(0), place)
    assert place.hub.faults
    back()
    assert not place.hub.faults
