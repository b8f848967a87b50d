"""Turn tags of words into entities: the likeliest legal tags, and where each entity stands in the text."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401

Floats = NDArray[np.floating[Any]]


def legal_tags(logs: Floats, names: Sequence[str]) -> NDArray[np.int64]:
    """The likeliest tags of a sentence in which every I-X follows B-X or I-X (Viterbi's algorithm).

    Args:
        logs: Logarithms of the probability of each tag, (words, c).
        names: Of the tags.

    Returns:
        Ids, (words,).
    """
    likeliest: NDArray[np.int64] = logs.argmax(1).astype(np.int64) if len(logs) else np.zeros(0, np.int64)
    follows = _follows(names)
    steps = zip([None, *likeliest], likeliest, strict=False)
    if all(_opens(names[tag]) if before is None else follows[before, tag] for before, tag in steps):
        return likeliest
    steps_allowed = np.where(follows, 0.0, -np.inf)
    best = logs[0] + np.where([_opens(name) for name in names], 0.0, -np.inf)
    back = []
    for line in logs[1:]:
        paths = best[:, None] + steps_allowed
        back.append(paths.argmax(0))
        best = paths.max(0) + line
    found = [int(best.argmax())]
    for before in reversed(back):
        found.append(int(before[found[-1]]))
    return np.array(found[::-1], np.int64)


def _opens(name: str) -> bool:
    return not name.startswith("I-")


def _follows(names: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each tag may stand behind each other one, (before, tag)."""
    return np.array([[_opens(tag) or before[2:] == tag[2:] for tag in names] for before in names])


def word_places(text: str, words: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Start and end of each word in the text that it comes from."""
    end = 0
    for word in words:
        start = text.index(word, end)
        end = start + len(word)
        yield start, end


def entities(text: str, words: Sequence[str], tags: Sequence[str], shares: Floats) -> list[dict[str, Any]]:
    """The entities of a tagged sentence, with their characters.

    Args:
        text: That the words come from.
        words: In order.
        tags: Of each word, legal IOB2.
        shares: The probability of each tag, (words,); an entity's is their product.
    """
    found: list[dict[str, Any]] = []
    for (start, end), tag, share in zip(word_places(text, words), tags, shares.tolist(), strict=True):
        if tag.startswith("B-"):
            found.append({"type": tag[2:], "start": start, "end": end, "probability": share})
        elif tag.startswith("I-"):
            found[-1]["end"] = end
            found[-1]["probability"] *= share
    return [one | {"text": text[one["start"] : one["end"]]} for one in found]
