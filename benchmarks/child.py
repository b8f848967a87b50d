"""One contender in processes of its own: what it takes in seconds and in memory.

    python benchmarks/child.py '{"contender": "kit", "kind": "image", "num_rates": 1, "config": {…}}'

`against_trainer.py` starts it, alone or through `accelerate launch`; the first process prints a line of JSON.
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from peers import peer_rows, trainer_fold
from workload import Clock, Workload, run_kit

from hf_transfer import RunConfig

_HERE = Path(__file__).resolve()


def main() -> None:
    given = json.loads(sys.argv[1])
    work = Workload(RunConfig().changed(given["config"]), given["kind"], given["num_rates"])
    if work.config.num_threads:
        torch.set_num_threads(work.config.num_threads)
    before = peak_memory()
    seconds = run_kit(work) if given["contender"] == "kit" else run_trainer(work)
    found = {"seconds": seconds, "before": before, "peak": peak_memory(), "device_peak": device_memory()}
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps(found), flush=True)


def run_trainer(work: Workload) -> float:
    """One fold and epoch of Trainer, loading in its own process: its memory does not grow from there."""
    clock = Clock()
    trainer_fold(work, peer_rows(work), 0, work.rates[0], 1)
    return clock.lap()


def run_child(
    work: Workload, contender: str = "kit", *, processes: int | None = None, on_processors: bool = False
) -> dict[str, Any]:
    """Start this file with a folder and a cache of its own; give what it prints.

    Args:
        work: Its `num_threads` are those of each process.
        contender: `kit` or `trainer`.
        processes: Launched by Accelerate; None starts the file alone.
        on_processors: Hide the GPUs.
    """
    with TemporaryDirectory() as folder:
        config = work.changed(output_dir=str(Path(folder) / "run")).config.to_dict()
        given = {"contender": contender, "kind": work.kind, "num_rates": work.num_rates, "config": config}
        environment = os.environ | {
            "HF_DATASETS_CACHE": str(Path(folder) / "cache"),
            "OMP_NUM_THREADS": str(work.config.num_threads or 1),
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        if on_processors:
            environment["CUDA_VISIBLE_DEVICES"] = ""
        command = [*_launcher(processes), str(_HERE), json.dumps(given)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise RuntimeError(f"{contender} in a process of its own failed:\n{done.stderr[-3000:]}")
    return json.loads(lines[-1])  # type: ignore[no-any-return]


def _launcher(processes: int | None) -> list[str]:
    if processes is None:
        return [sys.executable]
    settings = str(_HERE.parent.parent / "accelerate_config.yaml")
    return [
        sys.executable, "-m", "accelerate.commands.launch", "--config_file", settings,
        "--num_processes", str(processes), "--main_process_port", "0",
    ]  # fmt: skip


def peak_memory() -> int:
    """Most bytes that this process held in memory so far, mapped files included.

    On Linux not from `getrusage`: there a process begins with the peak of the one that started it.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def device_memory() -> int | None:
    """Most bytes on the GPU so far; None without one."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


if __name__ == "__main__":
    main()
