import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import torch

import hf_transfer
from hf_transfer import RunConfig
from hf_transfer.errors import ConfigError, LaunchError
from hf_transfer.machine import launcher
from hf_transfer.machine.launcher import check_launched, is_main_process, launch, tell_launcher
from hf_transfer.machine.lock import is_alive
from hf_transfer.training.workers import use_cores

RECIPE = Path(hf_transfer.__file__).parents[1] / "recipes" / "image_classification.py"

# Tells its place in the folder, and then does what the word for its rank says.
CHILD = """
import os, pathlib, signal, sys, time
names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
mine = pathlib.Path(sys.argv[1], os.environ["RANK"])
def stop(number, frame):
    mine.with_suffix(".stopped").write_text(str(number))
    sys.exit(128 + number)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, stop)
mine.write_text(" ".join(os.environ[name] for name in names))
while len(list(mine.parent.iterdir())) < int(os.environ["WORLD_SIZE"]):
    time.sleep(0.02)
word = sys.argv[2 + int(os.environ["RANK"])]
if word == "wait":
    time.sleep(60)
elif word == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
else:
    sys.exit(int(word))
"""


def children(folder, *words):
    return [sys.executable, "-c", CHILD, str(folder), *words]


@pytest.mark.parametrize(("rank", "main"), [(None, True), ("0", True), ("1", False)])
def test_the_first_process_is_the_main_one(monkeypatch, rank, main):
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    assert is_main_process() is main


def test_the_launcher_finds_why_a_process_ended(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    tell_launcher("DataError: row 3", "the whole story")
    message = json.loads((tmp_path / "error.json").read_text())["message"]
    assert message["message"] == "DataError: row 3"
    assert message["extraInfo"]["py_callstack"] == "the whole story"
    assert int(message["extraInfo"]["timestamp"]) > 0


def test_without_a_launcher_nobody_is_told(monkeypatch, tmp_path):
    monkeypatch.delenv("TORCHELASTIC_ERROR_FILE", raising=False)
    monkeypatch.chdir(tmp_path)
    tell_launcher("a", "b")
    assert not list(tmp_path.iterdir())


def test_every_process_is_told_its_place_and_where_to_meet(tmp_path):
    assert launch(children(tmp_path, "0", "0", "0"), 3) == 0
    told = [(tmp_path / str(rank)).read_text().split() for rank in range(3)]
    assert [words[:4] for words in told] == [[str(rank), str(rank), "3", "3"] for rank in range(3)]
    assert len({tuple(words[4:]) for words in told}) == 1


@pytest.mark.parametrize(
    ("words", "code"), [(("wait", "3"), 3), (("5", "wait"), 5), (("killed", "wait"), 137), (("0", "4"), 4)]
)
def test_when_one_ends_badly_the_others_are_stopped(tmp_path, monkeypatch, words, code):
    monkeypatch.setattr(launcher, "_GRACE", 0.3)
    assert launch(children(tmp_path, *words), 2) == code
    stopped = {path.stem: path.read_text() for path in tmp_path.glob("*.stopped")}
    expected = {str(rank): str(int(signal.SIGTERM)) for rank, word in enumerate(words) if word == "wait"}
    assert stopped == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_stop_is_passed_on(tmp_path, number):
    def send():
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    handler = signal.getsignal(number)
    threading.Thread(target=send).start()
    assert launch(children(tmp_path, "wait", "wait"), 2) == 128 + number
    assert len(list(tmp_path.glob("*.stopped"))) == 2
    assert signal.getsignal(number) == handler


LAUNCH = """
import sys
from hf_transfer.machine.launcher import launch
sys.exit(launch([sys.executable, "-c", *sys.argv[1:]], 2))
"""
WATCHED = """
import os, pathlib, signal, sys, time
from hf_transfer.machine import launcher
launcher._WATCH_EVERY, launcher._GRACE = 0.05, 0.2
launcher.end_with_launcher()
def stop(number, frame):
    pathlib.Path(sys.argv[1], os.environ["RANK"] + ".stopped").touch()
    if sys.argv[2] == "ends":
        sys.exit(0)
signal.signal(signal.SIGTERM, stop)
mine = pathlib.Path(sys.argv[1], os.environ["RANK"])
mine.with_suffix(".new").write_text(str(os.getpid()))
mine.with_suffix(".new").rename(mine)
time.sleep(60)
"""


@pytest.mark.parametrize("how", ["ends", "goes on"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_processes_end_with_a_launcher_that_can_tell_nobody(tmp_path, how, number):
    parent = subprocess.Popen([sys.executable, "-c", LAUNCH, WATCHED, str(tmp_path), how])
    numbers = [int(appeared(tmp_path / rank).read_text()) for rank in ("0", "1")]
    assert all(map(is_alive, numbers))
    parent.send_signal(number)
    until = time.monotonic() + 20
    while any(map(is_alive, numbers)):
        assert time.monotonic() < until
        time.sleep(0.02)
    assert len(list(tmp_path.glob("*.stopped"))) == 2
    parent.wait()


def appeared(file):
    until = time.monotonic() + 20
    while not file.exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    return file


def test_a_process_that_nobody_launched_watches_nobody(monkeypatch):
    for name in ("HF_TRANSFER_ERRORS_COLLECTED", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    number = threading.active_count()
    launcher.end_with_launcher()
    assert threading.active_count() == number


def test_what_all_end_by_is_said_once(tmp_path, capfd):
    script = """
import os, sys
from hf_transfer.cli.main import run_recipe
from hf_transfer.errors import DataError
def recipe():
    rank = int(os.environ["RANK"])
    raise DataError("Row 3 went bad." if rank < 2 else "Row 5 went bad.")
run_recipe(recipe)
"""
    assert launch([sys.executable, "-c", script], 3) == 3
    assert capfd.readouterr().err == "DataError: Row 3 went bad.\nDataError: Row 5 went bad.\n"


@pytest.mark.parametrize(("launched", "threads"), [(True, 2), (False, 4)])
def test_only_processes_of_a_launch_share_the_cores_out(monkeypatch, launched, threads):
    found = [4]
    monkeypatch.setattr("torch.set_num_threads", found.append)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(4))
    monkeypatch.setattr("psutil.cpu_count", lambda logical: 4)
    for name in ("LOCAL_WORLD_SIZE", "ACCELERATE_MIXED_PRECISION"):
        monkeypatch.delenv(name, raising=False)
    if launched:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    use_cores(SimpleNamespace(device=torch.device("cpu")), RunConfig(folds_per_device=2), beside=2)
    assert found[-1] == threads


def test_folds_side_by_side_need_a_launch(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    config = RunConfig(folds_per_device=3)
    with pytest.raises(
        LaunchError, match=r"takes 3 processes.*accelerate launch --num_processes 3"
    ) as caught:
        check_launched(config.folds_per_device)
    assert caught.value.num_processes == 3
    check_launched(1)
    monkeypatch.setenv("RANK", "1")
    check_launched(config.folds_per_device)


def test_folds_side_by_side_do_not_share_batches():
    with pytest.raises(ConfigError, match="parallel='data' each process a part of every batch"):
        RunConfig(folds_per_device=2, parallel="data")


@pytest.mark.slow
def test_folds_side_by_side_find_what_one_after_the_other_finds(tmp_path):
    settings = [
        "--base_model", "builtin:digits-resnet", "--dataset", "builtin:digits_5to9", "--max_rows", "60",
        "--num_folds", "3", "--num_epochs", "1", "--learning_rate", "1e-3", "--trainable", "last:1",
    ]  # fmt: skip
    for name, words in (("two", ["--folds_per_device", "2"]), ("one", ["--num_threads", "1"])):
        command = [sys.executable, str(RECIPE), *settings, *words, "--output_dir", str(tmp_path / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert "fold 3: accuracy" in done.stderr
    one, two = (pq.read_table(tmp_path / name / "predictions.parquet") for name in ("one", "two"))
    assert two.equals(one)
