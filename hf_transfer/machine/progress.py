"""Progress bars on standard error: live on a terminal, a line now and then in a log file."""

import sys
from typing import Any

from tqdm import tqdm

from hf_transfer import _guard  # noqa: F401

_SECONDS_IN_A_LOG = 30.0


def progress_bar(
    title: str, *, total: int, initial: int = 0, unit: str = "step", shown: bool = True, position: int = 0
) -> "tqdm[Any]":
    """Make a progress bar that disappears when done."""
    terminal = sys.stderr.isatty()
    return tqdm(
        desc=title,
        total=total,
        initial=initial,
        unit=unit,
        disable=not shown,
        position=position,
        leave=False,
        dynamic_ncols=True,
        file=sys.stderr,
        mininterval=0.1 if terminal else _SECONDS_IN_A_LOG,
        delay=0 if terminal else _SECONDS_IN_A_LOG,
    )
