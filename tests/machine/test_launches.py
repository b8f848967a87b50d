"""Launches, one process of which comes to grief: they end with a message, and the run can go on."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import hf_transfer

ROOT = Path(hf_transfer.__file__).parents[1]
DYING = ROOT / "tests" / "support" / "dying_recipe.py"
SMALL = [
    "--base_model", "builtin:tiny-bert", "--dataset", "builtin:reviews", "--max_rows", "50",
    "--num_folds", "3", "--num_epochs", "2", "--batch_size", "8", "--learning_rate", "1e-3",
]  # fmt: skip
ACCELERATE = [
    "accelerate.commands.launch",
    "--config_file",
    str(ROOT / "accelerate_config.yaml"),
    "--num_processes",
]
TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc_per_node"]
HANGS = (
    420  # seconds after which a launch that does not end is a failure; 300 without a sign of life are none
)

pytestmark = pytest.mark.slow


def start(words, *, processes=2, launcher=ACCELERATE):
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    command = [sys.executable, "-m", *launcher, str(processes), str(DYING), *map(str, words)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def end(process):
    try:
        _, shown = process.communicate(timeout=HANGS)
    finally:
        process.kill()
    return process.returncode, shown


def launch(words, **options):
    return end(start(words, **options))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The predictions of one process that nothing happens to."""
    folder = tmp_path_factory.mktemp("one") / "run"
    code, shown = launch(["none", "start", "kill", *SMALL, "--output_dir", folder], processes=1)
    assert code == 0, shown
    return (folder / "predictions.parquet").read_bytes()


@pytest.mark.parametrize(
    ("launcher", "processes", "parallel", "rank", "place", "how", "words"),
    [
        (ACCELERATE, 2, "data", 1, "update", "kill", "Signal 9"),
        (ACCELERATE, 2, "data", 1, "update", "memory", "no room for this batch"),
        (ACCELERATE, 2, "data", 0, "update", "exit", "exitcode  : 7"),
        (ACCELERATE, 3, "data", 2, "update", "refuse", "DataError: Row 3 went bad"),
        (ACCELERATE, 2, "folds", 1, "fold", "exit", "exitcode  : 7"),
        (ACCELERATE, 3, "folds", 0, "update", "kill", "Signal 9"),
        (ACCELERATE, 2, "folds", 0, "start", "refuse", "DataError: Row 3 went bad"),
        (TORCHRUN, 2, "folds", 1, "update", "crash", "LookupError: a defect"),
        (TORCHRUN, 2, "data", 0, "update", "kill", "Signal 9"),
    ],
)  # fmt: skip
def test_the_end_of_one_process_is_the_end_of_all_and_the_run_goes_on(
    tmp_path, undisturbed, launcher, processes, parallel, rank, place, how, words
):
    settings = [*SMALL, "--parallel", parallel, "--output_dir", tmp_path / "run"]
    code, shown = launch([rank, place, how, *settings], processes=processes, launcher=launcher)
    assert code != 0
    assert words in shown
    code, shown = launch(["none", "start", how, *settings], processes=processes, launcher=launcher)
    assert code == 0, shown
    assert (tmp_path / "run" / "README.md").is_file()
    if parallel == "folds":
        assert (tmp_path / "run" / "predictions.parquet").read_bytes() == undisturbed


@pytest.mark.parametrize(
    ("how", "expected", "words"),
    [
        (
            "memory-once",
            0,
            "Memory ran out at update 3: from there on 2 rows were taken at a time instead of 4",
        ),
        ("memory", 1, "Memory ran out at update 3 ("),
    ],
)
def test_memory_that_ends_in_one_process_halves_the_rows_of_all_or_ends_all(tmp_path, how, expected, words):
    settings = [*SMALL, "--parallel", "data", "--final", "none", "--output_dir", tmp_path / "run"]
    code, shown = launch([1, "pass", how, *settings], launcher=TORCHRUN)
    assert code == expected, shown
    stored = "".join(path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.json"))
    assert words in stored + shown


@pytest.mark.parametrize("parallel", ["data", "folds"])
def test_a_launcher_that_is_told_to_stop_stops_all_and_the_run_goes_on(tmp_path, undisturbed, parallel):
    settings = [*SMALL, "--parallel", parallel, "--output_dir", tmp_path / "run"]
    process = start(["all", "update", "linger", *settings])
    wait_for(tmp_path / "run" / "lingers")
    process.send_signal(signal.SIGTERM)
    code, shown = end(process)
    assert code != 0
    assert "Run the same command again to resume" in shown
    code, shown = launch(["none", "start", "kill", *settings])
    assert code == 0, shown
    if parallel == "folds":
        assert (tmp_path / "run" / "predictions.parquet").read_bytes() == undisturbed


def test_processes_without_a_launcher_notice_that_one_is_gone(tmp_path):
    settings = [*SMALL, "--parallel", "folds", "--output_dir", tmp_path / "run"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, str(DYING), "1", "fold", "kill", *map(str, settings)],
            env=os.environ | place | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    (code, shown), (killed, _) = map(end, processes)
    assert killed == -signal.SIGKILL
    assert code == 4
    assert "Another process of this launch has ended" in shown


def wait_for(file):
    ends = time.monotonic() + HANGS
    while not file.exists():
        assert time.monotonic() < ends
        time.sleep(0.1)
