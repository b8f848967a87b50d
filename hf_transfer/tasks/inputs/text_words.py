"""Find the words of a text that nobody has split yet."""

import re
import unicodedata
from functools import cache

from hf_transfer import _guard  # noqa: F401

Place = tuple[int, int]  # from the first character to behind the last

_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han and kana
_JOINERS = "\u200c\u200d"
_ACCENTS_UP_TO = 0x20000


def word_places(text: str) -> list[Place]:
    """Where the words stand: at spaces, with each punctuation mark and each Chinese or Japanese letter apart.

    Numbers stay whole, and accents stay with their letters.

    Example:
        >>> [text[start:end] for text in ["Ann's 3.5 kg (net)."] for start, end in word_places(text)]
        ['Ann', "'", 's', '3.5', 'kg', '(', 'net', ')', '.']
    """
    return [found.span() for found in _word().finditer(text)]


@cache
def _word() -> re.Pattern[str]:
    accents = "".join(filter(_is_accent, map(chr, range(_ACCENTS_UP_TO)))) + _JOINERS
    letter = rf"[^\W{_UNSPACED}]"
    return re.compile(
        rf"\d+(?:[.,:]\d+)+|[{_UNSPACED}]|{letter}(?:{letter}|[{accents}])*|[^\w\s][{accents}]*"
    )


def _is_accent(letter: str) -> bool:
    return unicodedata.category(letter).startswith("M")
