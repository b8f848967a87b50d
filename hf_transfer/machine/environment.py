"""The environment of a run: versions, hardware, command line."""

import os
import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.secrets import without_secrets

PACKAGES = (
    "torch", "transformers", "datasets", "evaluate", "accelerate", "huggingface_hub", "timm", "torchvision",
    "tokenizers", "scikit-learn", "seqeval", "numpy", "peft",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Versions of Python and the installed libraries."""
    installed = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed


def command() -> str:
    """The command line of this process, ready to be typed again; without tokens."""
    program = Path(sys.argv[0])
    here = Path.cwd()
    shown = program.relative_to(here) if program.is_absolute() and program.is_relative_to(here) else program
    first = [shown.name] if shown.name == "hf-transfer" else ["python", str(shown)]
    return without_secrets(shlex.join([*first, *sys.argv[1:]]))


def usable_cores() -> int:
    """Number of cores this process may use, or of all cores where the system does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_name() -> str:
    """Name of the CPU, and how many of its cores this process may use."""
    cores = usable_cores()
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = (
            line.partition(":") for line in info.read_text(encoding="utf-8", errors="replace").splitlines()
        )
        name = next((value.strip() for key, _, value in lines if key.strip() == "model name"), name)
    return f"{name}, {cores} core{'s' if cores != 1 else ''}"


def device_name(device: Any) -> str:
    """Product name of a torch device."""
    if device.type == "cuda":
        import torch

        return str(torch.cuda.get_device_name(device))
    return f"cpu: {processor_name()}" if device.type == "cpu" else str(device)
