"""Memory of a device: what fits, and what to do when it runs out.

There is one way out for all that runs on a device: what lies there for speed alone goes, then fewer rows are
taken at a time. What is still too large ends in one error that says so. Each time is noted, for the results.
"""

import gc
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

import numpy as np
import torch
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ShortOfMemoryError
from hf_transfer.machine.wording import count, visible

Result = TypeVar("Result")
Rows = NDArray[np.int64]

# Of CUDA and ROCm, XPU, NPU and MPS, their libraries, and a processor.
_WORDS = re.compile(
    r"out of memory|out_of_(device|host)_memory|status_alloc_failed|can't allocate memory|bad_alloc",
    re.IGNORECASE,
)


class Spare(Protocol):
    """Something that lies on a device for speed alone."""

    def let_go(self) -> bool:
        """Give the device's memory back for good; True if there was any."""


_spares: WeakSet[Any] = WeakSet()
_notes: ContextVar[list[str] | None] = ContextVar("notes of memory", default=None)


def fits_on_device(needed: float, device: torch.device) -> bool:
    """Whether this many bytes leave half of a GPU's free memory unused; always False on a CPU."""
    told = getattr(torch.get_device_module(device), "mem_get_info", None)
    return told is not None and needed < 0.5 * told(device)[0]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on whatever device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError, ShortOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and bool(_WORDS.search(str(error)))


def free_memory() -> None:
    """Release unused memory, on the device too."""
    gc.collect()
    if torch.accelerator.is_available():
        torch.get_device_module(torch.accelerator.current_accelerator()).empty_cache()


def keep_for_speed(spare: Spare) -> None:
    """Take note of something on a device that may go when memory runs out."""
    _spares.add(spare)


def let_go() -> bool:
    """Give back all that lies on a device for speed alone; False if there was nothing."""
    return any([spare.let_go() for spare in list(_spares)])  # noqa: C419  (all of them)


@contextmanager
def noted(notes: list[str]) -> Iterator[None]:
    """Collect the notes of what happens in a block when memory runs out."""
    token = _notes.set(notes)
    try:
        yield
    finally:
        _notes.reset(token)


def attempt(
    run: Callable[[], Result],
    when: str,
    *,
    undo: Callable[[], None] = lambda: None,
    agreed: Callable[[bool], bool] = bool,
    advice: str = "",
    tries: int = 1,
) -> Result:
    """Call a function; if memory runs out, let go of what is kept for speed and call it again.

    Args:
        run: What may be called again.
        when: Of messages, after "Memory ran out": "at update 3", say.
        undo: Takes back what a call changed before memory ran out.
        agreed: Where processes work together and `run` fails in all of them if in one: whether any has let
            go of something, by whether this one has, so that all go the same way.
        advice: Of the error, before the usual one.
        tries: Where there is nothing to let go of: another program on the device may have needed the memory
            for a moment only.

    Raises:
        ShortOfMemoryError: If that does not help.
    """
    while True:
        try:
            return run()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            said, tries = _first_line(error), tries - 1
        undo()
        given_back = agreed(let_go())
        free_memory()  # here, as the error holds on to what was computed
        if given_back:
            note(
                f"Memory ran out {when}: from there on rows are read from disk for every batch, and no "
                "longer kept on the device."
            )
        elif tries < 1:
            raise short_of_memory(when, said, advice)


def in_parts(
    run: Callable[[Rows], Result], parts: Sequence[Rows], when: str
) -> Iterator[tuple[Rows, Result]]:
    """Call a function on each part of some rows; where memory runs out, on half of a part, and so on.

    Parts that follow are taken no larger. What is computed of a row must not depend on those beside it.

    Yields:
        Rows that were taken together, in order, and what the function made of them.

    Raises:
        ShortOfMemoryError: If memory runs out for a single row.
    """
    most = too_many = max(map(len, parts), default=0)
    left = list(reversed(parts))
    while left:
        part = left.pop()
        if len(part) > most:
            left += reversed(np.array_split(part, -(-len(part) // most)))
            continue
        try:
            result = attempt(lambda part=part: run(part), when)  # type: ignore[misc]
        except ShortOfMemoryError:
            if len(part) == 1:
                raise
            too_many, most = max(too_many, len(part)), len(part) // 2
            left.append(part)
            continue
        if most < too_many:
            note(f"Memory ran out {when}: {count(most, 'row')} at a time instead of {too_many}.")
            too_many = most
        yield part, result


def if_it_fits(make: Callable[[], Result], otherwise: str) -> Result | None:
    """Call a function for what is not needed, only faster; None and a note if memory runs out.

    Args:
        make: Makes it.
        otherwise: The note.
    """
    try:
        return make()
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    free_memory()
    note(otherwise)
    return None


@contextmanager
def explained(when: str) -> Iterator[None]:
    """Turn an error that memory ran out into one that says when, where trying again could spoil something."""
    said = None
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error) or isinstance(error, ShortOfMemoryError):
            raise
        said = _first_line(error)
    if said is not None:
        raise short_of_memory(when, said)


def short_of_memory(when: str, said: str, advice: str = "") -> ShortOfMemoryError:
    """Make the error for what does not fit.

    Args:
        when: Memory ran out.
        said: By the library that noticed.
        advice: Before the usual one.
    """
    return ShortOfMemoryError(
        f"Memory ran out {when} ({said}). {advice or 'Take'} smaller inputs (max_length, image_size), a "
        "smaller model or fewer layers (trainable), or a device with more memory."
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def note(words: str) -> None:
    """Say it on the screen, and put it with the results."""
    notes = _notes.get()
    if notes is None or words not in notes:
        print(visible(words), file=sys.stderr)
    if notes is not None and words not in notes:
        notes.append(words)
