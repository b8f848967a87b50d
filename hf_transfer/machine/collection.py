"""Pause Python's garbage collector."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from hf_transfer import _guard  # noqa: F401


@contextmanager
def no_collection() -> Iterator[None]:
    """Pause garbage collection: scanning the lasting objects of imports took an eighth of their time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
