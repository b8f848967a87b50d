"""Split texts into words as given sentences are split, e.g. with punctuation apart."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hf_transfer import _guard  # noqa: F401

_ANY = "any mark"  # stands for marks that no sentence has
_LETTER = "letter"  # of a script without spaces between words
_APOSTROPHES = frozenset("'\u2019")
_WITHOUT_SPACES = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")


@dataclass(frozen=True)
class Splitter:
    """Splits a text at its spaces, and where the sentences that it has learned from are split.

    Attributes:
        known: Words that stay whole.
        apart: Kinds of characters that are words of their own, such as a comma.
        seen: All kinds of characters that there were.
        inside: Those that also stand between the letters of a word, such as a hyphen.
        endings: What is a word of its own at the end of another, such as `'s`; the longest first.
    """

    known: frozenset[str]
    apart: frozenset[str]
    seen: frozenset[str]
    inside: frozenset[str]
    endings: tuple[str, ...]

    @classmethod
    def like(cls, sentences: Iterable[Sequence[str]]) -> "Splitter":
        """Learn how sentences are split: a mark is a word of its own if it is one more often than not.

        Args:
            sentences: Lists of words.
        """
        words = Counter(word for sentence in sentences for word in sentence)
        alone: Counter[str] = Counter()
        attached: Counter[str] = Counter()
        for word, times in words.items():
            kinds = {kind for kind in map(_kind, word) if kind}
            single = len(word) == 1 or (len(set(word)) == 1 and _LETTER not in kinds)  # such as "..."
            tally = alone if single else attached
            for kind in kinds:
                tally[kind] += times
                tally[_ANY] += times * (kind != _LETTER)
        apart = {kind for kind in alone if alone[kind] > attached[kind]}
        inside = {kind for word in words for kind in map(_kind, word[1:-1]) if kind}
        endings = [word for word in words if len(word) > 1 and set(word[:2]) & _APOSTROPHES]
        endings = [word for word in endings if word[-1].isalpha() and len(word) < 4]
        return cls(
            known=frozenset(words),
            apart=frozenset(apart),
            seen=frozenset(alone) | frozenset(attached),
            inside=frozenset(inside),
            endings=tuple(sorted(endings, key=_longest)),
        )

    def __call__(self, text: str) -> list[str]:
        """The words of a text, each as it stands there."""
        return [word for piece in text.split() for word in self._words(piece)]

    def _words(self, piece: str) -> Iterator[str]:
        """Cut off the marks around a piece without spaces, and cut what is between them."""
        opening, closing = [], []
        while piece and piece not in self.known and self._is_apart(piece[0]):
            opening.append(self._run(piece))
            piece = piece[len(opening[-1]) :]
        while piece and piece not in self.known and self._is_apart(piece[-1]):
            closing.append(self._run(piece[::-1]))
            piece = piece[: -len(closing[-1])]
        yield from opening
        yield from [piece] if piece in self.known else self._inside(piece)
        yield from reversed(closing)

    def _run(self, piece: str) -> str:
        """The first character, with those of its kind behind it where they are one word."""
        run = piece[: len(piece) - len(piece.lstrip(piece[0]))]
        return run if run in self.known else piece[0]

    def _inside(self, piece: str) -> Iterator[str]:
        """Cut a piece that begins and ends with letters or digits."""
        ending = next((end for end in self.endings if piece.endswith(end) and piece != end), "")
        body, start = piece.removesuffix(ending), 0
        for place, letter in enumerate(body):
            kept = _kind(letter) in self.inside or body[place - 1 : place].isdigit()
            if self._is_apart(letter) and (_kind(letter) == _LETTER or not kept):
                yield from [body[start:place]] if start < place else []
                yield letter
                start = place + 1
        yield from [body[start:]] if body[start:] else []
        yield from [ending] if ending else []

    def _is_apart(self, letter: str) -> bool:
        kind = _kind(letter)
        if kind is None or kind == _LETTER or kind in self.seen:
            return kind in self.apart
        return _ANY in self.apart


def _kind(letter: str) -> str | None:
    """A mark itself; `_LETTER` for a script without spaces; None for other letters, digits and accents."""
    category = unicodedata.category(letter)[0]
    if category in "PS":
        return letter
    name = unicodedata.name(letter, "") if category == "L" and letter > "\u0dff" else ""
    return _LETTER if name.startswith(_WITHOUT_SPACES) else None


def _longest(word: str) -> tuple[int, str]:
    return -len(word), word
