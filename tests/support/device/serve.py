"""Calls functions on the pretend GPU, each in a fork of this process: a request a line, as JSON."""

import importlib.util
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import accelerate  # noqa: F401  (the imports are what the forks save)
import datasets  # noqa: F401
import sitecustomize
import sklearn  # noqa: F401
import torch
import transformers  # noqa: F401

import hf_transfer


def serve() -> None:
    """Answer each request by a line that says how its process ended."""
    for name in hf_transfer.__all__:
        getattr(hf_transfer, name)
    torch.set_num_threads(1)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            _answer(request)
        print(_ended(child, time.monotonic() + request["seconds"]), flush=True)


def _answer(request: dict[str, Any]) -> None:
    folder = Path(request["folder"])
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.setpgid(0, 0)
    value, error = None, ""
    try:
        if request["memory"] is not None:
            sitecustomize.library.set_memory(request["memory"])
        module = _module(request["file"])
        sitecustomize.library.reset_counts()
        value = getattr(module, request["function"])(*request["given"], **request["named"])
    except BaseException as caught:  # noqa: BLE001  (an exit is an answer too)
        traceback.print_exc()
        error = f"{type(caught).__name__}: {caught}"
    sys.stdout.flush()
    sys.stderr.flush()
    answer = {"value": value, "error": error, "counts": sitecustomize.library.counts()}
    (folder / "answer").write_text(json.dumps(answer))
    os._exit(0)


def _module(file: str) -> ModuleType:
    """The module of a file, which may be a test's."""
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    return module


def _ended(child: int, until: float) -> str:
    while time.monotonic() < until:
        number, status = os.waitpid(child, os.WNOHANG)
        if number:
            return f"exit code {os.waitstatus_to_exitcode(status)}"
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "killed, as it took too long"


if __name__ == "__main__":
    serve()
