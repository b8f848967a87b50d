"""Inputs of two parts: their two columns, and how they are written on a command line."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError

APART = "\t"  # between the parts of an input that is written in one word


def two_columns(column: str, subject: str, example: str) -> list[str]:
    """The two columns that a name stands for, with a comma between them.

    Args:
        column: The name.
        subject: What is in two columns, with its verb, for a message.
        example: Two such names.

    Raises:
        DataError: If it does not name two.
    """
    names = [name.strip() for name in column.split(",")]
    if len(names) != 2 or not all(names):
        raise DataError(
            f"{subject} in two columns, and input_column={column!r} names "
            f"{len(list(filter(None, names)))}. Write them as in --input_column {example}."
        )
    return names


def in_twos(
    words: Sequence[str], is_whole: Callable[[str], bool], lacking: Callable[[str], str]
) -> list[str]:
    """An input of each two words; a word that is a whole input already stands by itself.

    Args:
        words: As they were given.
        is_whole: Whether a word holds both parts.
        lacking: What to say of a first part without a second.

    Raises:
        DataError: If the last word is one.
    """
    inputs, first = [], None
    for word in words:
        if first is not None:
            inputs.append(f"{first}{APART}{word}")
            first = None
        elif is_whole(word):
            inputs.append(word)
        else:
            first = word
    if first is not None:
        raise DataError(lacking(repr(first[:60])))
    return inputs


def object_with(text: str, keys: Sequence[str]) -> dict[str, Any] | None:
    """The object of JSON with just these keys that a text is; None if it is not one."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return {key: found[key] for key in keys} if found.keys() == set(keys) else None
