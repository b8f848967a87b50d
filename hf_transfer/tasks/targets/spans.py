"""Bring spans of characters, as annotation tools write them, onto words as IOB2 tags."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError
from hf_transfer.machine.wording import count, some

_STARTS = ("start", "start_offset", "begin", "start_char")
_ENDS = ("end", "end_offset", "stop", "end_char")
_LABELS = ("label", "labels", "entity", "entity_type", "entity_group", "type", "tag", "class")
_USUAL = ("label", "labels", "spans", "entities", "ents", "annotations")


class _Span(NamedTuple):
    start: int
    end: int
    kind: str


def is_spans(feature: Any) -> bool:
    """Whether a column holds lists of spans: a start, an end and a label each."""
    inner = getattr(feature, "feature", None)
    return isinstance(inner, Mapping) and all(_key(inner, names) for names in (_STARTS, _ENDS, _LABELS))


def is_words(feature: Any) -> bool:
    """Whether a column holds lists of texts."""
    return getattr(getattr(feature, "feature", None), "dtype", None) in ("string", "large_string")


def is_empty_list(feature: Any) -> bool:
    """Whether a column has nothing but empty lists, or nothing at all, as where no row has a span."""
    return "null" in (getattr(feature, "dtype", ""), getattr(getattr(feature, "feature", None), "dtype", ""))


def span_columns(features: Mapping[str, Any]) -> list[str]:
    """The names of the columns of spans, in small letters, the likeliest first."""
    names = [name.lower() for name, feature in features.items() if is_spans(feature)]
    return sorted(names, key=lambda name: _USUAL.index(name) if name in _USUAL else len(_USUAL))


@dataclass
class Aligner:
    """Tags words by the spans of their text, and notes what could not be kept.

    Attributes:
        where: How messages call the column of spans.
        num_spans: How many there were.
        cut: Of each span that begins or ends inside a word, its row, its text and the words'.
        overlapping: The rows of spans that share a word with a longer one.
        missing: Rows without a list.
    """

    where: str
    num_spans: int = 0
    cut: list[tuple[int, str, str]] = field(default_factory=list)
    overlapping: list[int] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)

    def tags(
        self, row: int, text: str, words: Sequence[tuple[int, int]], given: Sequence[Mapping[str, Any]] | None
    ) -> list[str]:
        """The tag of each word; of spans that overlap, the longest counts.

        Args:
            row: Its number.
            text: What the spans are of.
            words: Where each word begins and ends.
            given: The spans.

        Raises:
            DataError: If a span is not inside the text, or holds something else than it says.
        """
        if given is None:
            self.missing.append(row)
        spans = {self._read(row, text, span) for span in given or ()}
        self.num_spans += len(spans)
        starts, ends = [start for start, _ in words], [end for _, end in words]
        tags = ["O"] * len(words)
        for span in sorted(spans, key=lambda span: (span.start - span.end, span)):
            first, last = bisect_right(ends, span.start), bisect_left(starts, span.end)
            if first >= last or any(tag != "O" for tag in tags[first:last]):
                self.overlapping.append(row)
                continue
            if starts[first] < span.start or ends[last - 1] > span.end:
                self.cut.append((row, text[span.start : span.end], text[starts[first] : ends[last - 1]]))
            tags[first:last] = [f"B-{span.kind}", *[f"I-{span.kind}"] * (last - first - 1)]
        return tags

    def notes(self) -> tuple[str, ...]:
        """What to know of the tags, a sentence each."""
        found = [f"{count(self.num_spans, 'span')} of characters in {self.where} became IOB2 tags of words."]
        if self.cut:
            _, span, word = self.cut[0]
            found.append(
                f"{count(len(self.cut), 'span')} in {self.where} widened to whole words, as they cut one: "
                f"{some([row for row, _, _ in self.cut])}. The first, {span!r}, became {word!r}."
            )
        if self.overlapping:
            found.append(
                f"{count(len(self.overlapping), 'span')} in {self.where} left out, as each shares a word "
                f"with a longer one or has none: {some(self.overlapping)}."
            )
        if self.missing:
            found.append(
                f"{count(len(self.missing), 'row')} without a list in {self.where} taken as having no "
                f"entity: {some(self.missing)}."
            )
        return tuple(found)

    def _read(self, row: int, text: str, span: Mapping[str, Any]) -> _Span:
        start, end, kind = (span.get(_key(span, names) or "") for names in (_STARTS, _ENDS, _LABELS))
        kind = kind[0] if isinstance(kind, list) and len(kind) == 1 else kind
        if not (isinstance(start, int) and isinstance(end, int) and isinstance(kind, str) and kind):
            raise DataError(
                f"Row {row} has a span in {self.where} from {start!r} to {end!r} with the label {kind!r}. "
                "Give each span two whole numbers and one label."
            )
        said = span.get("text")
        if isinstance(said, str) and text[start:end].split() != said.split():
            start, end = _from_utf16(text, start, end)
        if not 0 <= start < end <= len(text) or (
            isinstance(said, str) and text[start:end].split() != said.split()
        ):
            raise DataError(
                f"Row {row} has a span in {self.where} from {start} to {end}, where its text of "
                f"{count(len(text), 'character')} has {text[max(0, start) : end]!r}"
                f"{f' and not {said!r}' if isinstance(said, str) else ''}. Export the text and the spans "
                "together, with offsets in characters."
            )
        inner = text[start:end]
        start += len(inner) - len(inner.lstrip())
        return _Span(start, start + len(inner.strip()), kind)


def _key(span: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((name for name in names if span.get(name) is not None), None)


def _from_utf16(text: str, start: int, end: int) -> tuple[int, int]:
    """Offsets as browsers count them, where an emoji is two, in characters."""
    units = text.encode("utf-16-le", "surrogatepass")
    before, inside = (units[2 * max(0, a) : 2 * max(0, b)] for a, b in ((0, start), (start, end)))
    first = len(before.decode("utf-16-le", "replace"))
    return first, first + len(inside.decode("utf-16-le", "replace"))
