"""When Python looks for what nothing refers to any more."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from hf_transfer import _guard  # noqa: F401


@contextmanager
def no_collection() -> Iterator[None]:
    """Do not look meanwhile: imports make a million objects that stay, and looking took an eighth of them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
