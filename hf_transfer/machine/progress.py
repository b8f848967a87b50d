"""Progress bars: live on a terminal and in a notebook, a line now and then in a log file."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm.auto import tqdm

from hf_transfer import _guard  # noqa: F401

_SECONDS_IN_A_LOG = 30.0


def progress_bar(
    title: str, *, total: int, initial: int = 0, unit: str = "step", shown: bool = True, position: int = 0
) -> "tqdm[Any]":
    """Make a progress bar that disappears when done."""
    live = sys.stderr.isatty() or "ipykernel" in sys.modules
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
        mininterval=0.1 if live else _SECONDS_IN_A_LOG,
        delay=0 if live else _SECONDS_IN_A_LOG,
    )


@contextmanager
def own_bars() -> Iterator[None]:
    """Silence the bars of `datasets`, which look otherwise and fill log files."""
    import datasets

    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()
