"""The environment of a run: versions, hardware, command line."""

import os
import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.secrets import local_name, without_secrets

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
    """The command line of this process as it was typed, without tokens and without anybody's folders."""
    words = sys.orig_argv[1:]
    first = ["hf-transfer"] if words and Path(words[0]).stem == "hf-transfer" else ["python", *words[:1]]
    return without_secrets(shlex.join(map(_without_folders, [*first, *words[1:]])))


def _without_folders(word: str) -> str:
    """Shorten a path out of the working folder to its last name; `--flag=` and `timm:ARCH@` stay."""
    flag, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    scheme, at, path = value.rpartition("@") if value.startswith("timm:") else ("", "", value)
    if Path(path).is_relative_to(Path.cwd()):
        path = str(Path(path).relative_to(Path.cwd()))
    elif Path(path).is_absolute() or path.startswith("~") or ".." in Path(path).parts:
        path = local_name(path) or path
    return f"{flag}{equals}{scheme}{at}{path}"


def usable_cores() -> int:
    """Number of cores this process may use, or of all cores where the system does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def local_processes() -> int:
    """Number of processes that this launch has on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def pool_size() -> int:
    """Number of threads for work beside torch's: this process's share of the cores.

    Not torch's own number, which a launcher beside a GPU sets to one.
    """
    return max(1, usable_cores() // local_processes())


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
    import torch

    if device.type == "cpu":
        return f"cpu: {processor_name()}"
    named = getattr(torch.get_device_module(device), "get_device_name", None)  # Apple's has none
    return str(named(device)) if named else str(device)
