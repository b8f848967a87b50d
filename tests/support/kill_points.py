"""Where a run can be killed: at named points by its own hand, or anywhere from outside.

Used by the tests, and by `faults.py` and `siege.py` of the benchmarks. Everything is patched in a forked
child only.
"""

import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from mmap import mmap
from pathlib import Path
from typing import Any

# What a run is doing, outermost first: name, module, function.
AREAS = [
    ("training", "hf_transfer.training.loop", "Loop.run"),
    ("checkpoint write", "hf_transfer.training.checkpoint", "Checkpoints.save"),
    ("scoring", "hf_transfer.study.fold_scorer", "FoldScorer.predicted"),
    ("store write", "hf_transfer.replay.stores", "Stores._build"),
    ("heads together", "hf_transfer.study.fold_runner", "FoldRunner.run_heads"),
    ("a fold's files", "hf_transfer.runs.run_folder", "RunFolder.keep"),
    ("model write", "hf_transfer.machine.files", "_put_in_place"),
    ("results", "hf_transfer.runs.results", "CrossValidationResult.save"),
    ("card", "hf_transfer.report.card.card", "write_card"),
    ("push", "hf_transfer.runs.hub.push", "push"),
]


@dataclass(frozen=True)
class Point:
    """A moment in which a process dies: before or after a call, or with the file it wrote cut in two."""

    name: str
    module: str
    function: str
    moment: str = "before"
    file: str = ""  # how the name of the call's path begins


POINTS = [  # in the order of a run
    Point("store: in mid-write", "hf_transfer.replay.store", "FeatureStore.write", "after"),
    Point("store: whole, no name yet", "hf_transfer.machine.cache", "StoreFolder.finish"),
    Point("checkpoint: tensors half written", "hf_transfer.training.checkpoint", "save_file", "torn"),
    Point("checkpoint: no manifest yet", "hf_transfer.training.checkpoint", "save_file", "after"),
    Point("checkpoint: whole, no name yet", "hf_transfer.machine.files", "_put_in_place", file="step-"),
    Point(
        "checkpoint: older one still there", "hf_transfer.machine.files", "_put_in_place", "after", "step-"
    ),
    Point("fold: predictions, not done", "pathlib", "Path.replace", file="done.json"),
    Point("fold: done, checkpoint there", "hf_transfer.runs.run_folder", "sync"),
    Point("final model: no name yet", "hf_transfer.machine.files", "_put_in_place", file="model"),
    Point("final model: not recorded", "hf_transfer.study.final.final_model", "write_json", file="done.json"),
    Point("results: predictions only", "hf_transfer.runs.results", "write_json", file="results.json"),
    Point("card: between pictures", "hf_transfer.report.plots.scores", "write_bytes"),
    Point("card: pictures, no text", "hf_transfer.report.card.card", "write_bytes"),
    Point("push: before the commit", "huggingface_hub", "HfApi.create_commit"),
    Point("push: commit made, answer unread", "huggingface_hub", "HfApi.create_commit", "after"),
]


def in_child(run: Callable[[], Any], log: Path) -> int:
    """Start a function in a child process, its output in a file; gives the child's number."""
    child = os.fork()
    if child:
        return child
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)
    with log.open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    code = 1
    try:
        run()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except KeyboardInterrupt as stopped:
        code = getattr(stopped, "exit_code", 130)
    finally:
        if sys.exc_info()[1] is not None:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)


def ended(child: int) -> int:
    """Wait for a child; gives its exit code, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def ended_within(child: int, seconds: float) -> int | None:
    """Wait for a child for some time; None when it still runs."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        number, status = os.waitpid(child, os.WNOHANG)
        if number:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None


def die_at(point: Point, time: int = 1) -> None:
    """Let this process be killed the n-th time that it comes to a point."""
    owner, name = _owner(point.module, point.function)
    original, left = getattr(owner, name), [time]

    def or_die(*args: Any, **names: Any) -> Any:
        here = not point.file or any(Path(a).name.startswith(point.file) for a in args if isinstance(a, Path))
        left[0] -= here
        last = here and left[0] == 0
        if last and point.moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = original(*args, **names)
        if last and point.moment == "torn":
            os.truncate(args[1], Path(args[1]).stat().st_size // 2)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(owner, name, or_die)


def watch(shared: mmap) -> None:
    """Let this process say in a byte of shared memory what it is doing."""
    for number, (_, module, function) in enumerate(AREAS, start=1):
        owner, name = _owner(module, function)
        setattr(owner, name, _marked(getattr(owner, name), shared, number))


def _marked(original: Callable[..., Any], shared: mmap, number: int) -> Callable[..., Any]:
    def marked(*args: Any, **names: Any) -> Any:
        before, shared[0] = shared[0], number
        try:
            return original(*args, **names)
        finally:
            shared[0] = before

    return marked


def _owner(module: str, function: str) -> tuple[Any, str]:
    *path, name = function.split(".")
    owner: Any = importlib.import_module(module)
    for part in path:
        owner = getattr(owner, part)
    return owner, name
