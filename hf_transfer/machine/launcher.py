"""Run one command in several processes, and report why they end."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import LaunchError
from hf_transfer.machine.lock import is_alive
from hf_transfer.machine.signals import STOP_SIGNALS

_ERROR_FILE, _COLLECTED = "TORCHELASTIC_ERROR_FILE", "HF_TRANSFER_ERRORS_COLLECTED"
_OF_TORCH = "TORCHELASTIC_RUN_ID"  # set by the launchers of PyTorch and Accelerate
_LOOK_EVERY = 0.1  # seconds
_WATCH_EVERY = 1.0  # seconds between two looks whether the launcher is there
_GRACE = 10.0  # seconds that the others have to end by themselves when one has ended badly


def is_main_process() -> bool:
    """Whether this process is the first of its launch, or runs alone."""
    return os.environ.get("RANK", "0") == "0"


def check_launched(folds_per_device: int) -> None:
    """Stop if folds are to be trained side by side and no launcher has started the processes.

    Args:
        folds_per_device: Folds to train side by side.

    Raises:
        LaunchError: If they have yet to be started.
    """
    if folds_per_device > 1 and "RANK" not in os.environ:
        raise LaunchError(folds_per_device)


def launch(command: Sequence[str], num_processes: int) -> int:
    """Run a command in several connected processes; return the exit code of the first to fail.

    They see what a launcher would tell them, and are asked to stop when this one is. When one ends badly
    the others are asked to stop too, which keeps where they are. What several of them end by is said once.
    """
    children: list[subprocess.Popen[bytes]] = []

    def forward(number: int, _frame: object) -> None:
        for child in children:
            if os.name != "nt" or number == signal.SIGTERM:  # Windows gives Ctrl-C to all, and sends no other
                child.send_signal(number)  # nothing happens if it has ended

    before = {number: signal.signal(number, forward) for number in STOP_SIGNALS}
    with TemporaryDirectory() as folder:
        try:
            for environment in _environments(num_processes, Path(folder)):
                children.append(subprocess.Popen(command, env=environment))
            code = _exit_code(children)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            for child in children:
                child.kill()
        for reason in dict.fromkeys(map(_told, sorted(Path(folder).iterdir()))):
            print(reason, file=sys.stderr)
    return code


def _environments(num_processes: int, folder: Path) -> Iterator[dict[str, str]]:
    """Environment variables of each process: its rank, the meeting point, the file for its error."""
    port = str(_free_port())
    for rank in range(num_processes):
        yield os.environ | {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(num_processes),
            "LOCAL_WORLD_SIZE": str(num_processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),  # until the run sets its own
            _ERROR_FILE: str(folder / f"{rank}.json"), _COLLECTED: str(os.getpid()),
        }  # fmt: skip


def _told(file: Path) -> str:
    try:
        reason: str = json.loads(file.read_text("utf-8"))["message"]["message"]
    except ValueError:  # it was killed while it wrote
        return "A process was killed before it had written its error."
    return reason


def is_heard() -> bool:
    """Whether the parent process collects the errors of all processes and prints them."""
    return _COLLECTED in os.environ


def end_with_launcher() -> None:
    """End this process when the one that launched it has ended, if one did; called at its start.

    A launcher that is killed can tell nobody, and its processes would compute on and hold the lock of their
    folder. They are asked to stop, which keeps where they are, and ended if they do not.
    """
    parent = os.environ.get(_COLLECTED) or (os.getppid() if _OF_TORCH in os.environ else None)
    if parent is not None:
        threading.Thread(target=_end_after, args=(int(parent), time.time()), daemon=True).start()


def _end_after(parent: int, since: float) -> None:
    while is_alive(parent, since):
        time.sleep(_WATCH_EVERY)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)  # it may wait for another process, and then hears no signal
    os._exit(128 + signal.SIGTERM)


def _exit_code(children: Sequence["subprocess.Popen[bytes]"]) -> int:
    """Wait for all processes; return the first failing exit code, or 128 + n for signal n."""
    failed, since = 0, 0.0
    while None in (codes := [child.poll() for child in children]):
        bad = [code for code in codes if code]
        if bad and not failed:
            failed, since = bad[0], time.monotonic()
        if failed and time.monotonic() - since > _GRACE:
            since = float("inf")
            for child in children:
                child.terminate()
        time.sleep(_LOOK_EVERY)
    failed = failed or next((code for code in codes if code), 0)
    return failed if failed >= 0 else 128 - failed


def _free_port() -> int:
    with socket.socket() as here:
        here.bind(("127.0.0.1", 0))
        port: int = here.getsockname()[1]
        return port


def tell_launcher(reason: str, traceback: str) -> None:
    """Write this process's error to the file that PyTorch's launcher reads."""
    file = os.environ.get(_ERROR_FILE)
    if file:
        details = {"py_callstack": traceback, "timestamp": str(int(time.time()))}
        Path(file).write_text(json.dumps({"message": {"message": reason, "extraInfo": details}}), "utf-8")
