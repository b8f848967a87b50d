"""Whether the names of labels say what they stand for, so that a model can judge by them without training."""

import re
from collections.abc import Sequence
from typing import Literal

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.wording import some

Answers = Literal["one", "each"]

# Words that stand before a number or a letter where nobody has named the classes.
_PLACEHOLDERS = {
    "category", "class", "cls", "cluster", "entity", "group", "id", "idx", "label", "lbl", "level", "tag",
    "target", "topic", "type", "value",
}  # fmt: skip
_LETTERS = re.compile(r"[^\W\d_]")


def zero_shot_problems(answers: Answers | None, names: Sequence[str], called: str) -> list[str]:
    """Say why rows can't be judged by the names of their labels; nothing if they can.

    Args:
        answers: How names answer for a row; None where labels have no names.
        names: Of the labels.
        called: What the labels are called.
    """
    if answers is None:
        return [f"zero_shot judges by the names of classes, and the labels are {called}. Leave it out."]
    empty = [repr(name) for name in names if not means_something(name)]
    if not empty:
        return []
    return [
        f"zero_shot judges by the names of classes, and {some(empty, noun='name')} "
        f"{'says' if len(empty) == 1 else 'say'} nothing of what is meant. Name the classes in the data "
        "(in a column of texts, say), or leave zero_shot out."
    ]


def means_something(name: str) -> bool:
    """Whether a name has a word in it, instead of a number, a letter, an id or `LABEL_0`."""
    return any(map(_is_word, spoken(name).split()))


def spoken(name: str) -> str:
    """A name as it is said in a sentence: `golden_retriever` is a golden retriever."""
    return " ".join(re.sub(r"[_/-]+", " ", name).split())


def _is_word(text: str) -> bool:
    letters = _LETTERS.findall(text)
    word = "".join(letters).lower()
    if not letters or word in _PLACEHOLDERS or len(letters) <= sum(map(str.isdigit, text)):
        return False
    return len(letters) > 1 or not word.isascii()  # a single letter of Chinese may be a word
