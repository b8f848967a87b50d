"""What a benchmark prints: the machine, and Markdown tables."""

import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from workload import Workload

from hf_transfer import __version__
from hf_transfer.machine.environment import processor_name

_PACKAGES = ("torch", "transformers", "accelerate", "datasets", "timm", "torchvision", "pillow")


def setting(work: Workload, name: str, dataset: str) -> str:
    """A paragraph on machine, versions, sizes and seed."""
    config = work.config
    rows = len(work.data.rows)
    return "\n".join(
        [
            f"{machine(config.num_threads)}; {config.mixed_precision or 'no'} mixed precision.",
            f"{versions()}.",
            f"{name} on {rows:,} rows of {dataset}, {len(work.data.label_names)} labels; "
            f"trainable={config.trainable}, batches of {config.batch_size}, seed {config.seed}.",
        ]
    )


def machine(threads: int | None) -> str:
    """Processor, cores, threads and GPU."""
    gpu = "no GPU"
    if torch.cuda.is_available():
        gpu = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    elif torch.accelerator.is_available():
        gpu = str(torch.accelerator.current_accelerator())
    return f"{processor_name()}, {threads} thread{'s' if threads != 1 else ''}, {gpu}"


def versions() -> str:
    """The kit and what it stands on."""
    found = [f"hf-transfer-kit {__version__}{_commit()}"]
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, words: int = 1) -> str:
    """A Markdown table.

    Args:
        columns: Headings.
        rows: Cells; None is shown as a dash.
        words: Columns from the left that hold words; the others are numbers, set to the right.
    """
    rule = ["---" if i < words else "---:" for i in range(len(columns))]
    cells = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in ([*columns], rule, *cells))


def number(value: float) -> str:
    """Three digits that count, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _commit() -> str:
    """The checkout's commit, and whether it was changed since."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f" ({done.stdout.strip()})"
