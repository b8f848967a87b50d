"""A part of some work, written as i/n: the part with number i, from 0, of n."""

import re

from hf_transfer import _guard  # noqa: F401

_PART = re.compile(r"(\d{1,7})/(\d{1,7})")


def read_part(text: str) -> tuple[int, int]:
    """The number of a part, from 0, and the number of all; `part_problem` has seen it."""
    index, number = text.split("/")
    return int(index), int(number)


def part_problem(text: str, name: str) -> list[str]:
    """What is wrong with a part, a sentence; empty if nothing is.

    Args:
        text: As it was given.
        name: Of the setting.
    """
    found = _PART.fullmatch(text)
    if found and int(found[1]) < int(found[2]):
        return []
    return [
        f"{name}={text!r} is no part. Write i/n with i from 0 to n - 1, such as 0/10 for the first of ten."
    ]
