"""Convert tags of any usual scheme to IOB2: B-X begins an entity, I-X continues it, O is outside."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError
from hf_transfer.machine.wording import count

OUTSIDE = "O"

_UNNAMED = "ENTITY"  # the type of tags that are a letter alone
_LETTERS = {"IOB2": "BI", "BIOES": "BIES", "BILOU": "BILU", "BMES": "BMES"}
_OPEN, _ALONE, _LAST = "BSU", "SU", "ESLU"  # letters that begin an entity, that are one, that end one
# The ways in which a letter and a type are one tag, the usual first.
_FORMS = (
    re.compile(r"(?P<letter>[BIESLUM])-(?P<kind>.+)", re.DOTALL),
    re.compile(r"(?P<letter>[BIESLUMbieslum])[-_](?P<kind>.+)", re.DOTALL),
    re.compile(r"(?P<kind>.+)[-_](?P<letter>[BIESLUM])", re.DOTALL),
    re.compile(r"(?P<letter>[BIESLUM])"),
)

Rows = list[list[str]]


@dataclass(frozen=True)
class Converted:
    """Tags in IOB2.

    Attributes:
        scheme: What they were before.
        parts: Of each split.
        names: The declared names in IOB2, where there are any and they were others.
        notes: What was changed.
    """

    scheme: str
    parts: list[Rows]
    names: tuple[str, ...] | None
    notes: tuple[str, ...] = ()


def to_iob2(parts: Sequence[Rows], wheres: Sequence[str], names: tuple[str, ...] | None) -> Converted:
    """Find the scheme from all tags together, and convert them.

    Args:
        parts: The tags of each split, row for row.
        wheres: How messages call the column of each.
        names: Those that a `ClassLabel` declares.

    Raises:
        DataError: If the tags are of no scheme, or of two, with the first row that is at fault.
    """
    used = {tag for part in parts for row in part for tag in row}.union(names or ())
    written = _spelling(used, wheres[0])
    spelled = [[[written[tag] for tag in row] for row in part] for part in parts]
    scheme = _scheme(set(written.values()), [row for part in spelled for row in part], wheres[0])
    opens = scheme in ("IOB1", "IO")
    for part, where in zip(spelled, wheres, strict=True):
        _refuse_stray([] if opens else part, where, scheme)
    found = [[list(_iob2(row)) for row in part] for part in spelled]
    if found == list(parts):
        return Converted(scheme, found, names)
    kinds = dict.fromkeys(written[name][2:] for name in names or () if written[name] != OUTSIDE)
    if names is not None and set(names) - {OUTSIDE} - {
        f"{letter}-{kind}" for letter in "BI" for kind in kinds
    }:
        names = (OUTSIDE, *(f"{letter}-{kind}" for kind in kinds for letter in "BI"))
    return Converted(scheme, found, names, (_note(parts, found, wheres[0], scheme),))


def _spelling(tags: set[str], where: str) -> dict[str, str]:
    """Each tag as a letter, a dash and a type; types alone get the letter I."""
    outside = OUTSIDE if OUTSIDE in tags else "o"
    inside = sorted(tags - {outside})
    for form in _FORMS:
        if all(form.fullmatch(tag) for tag in inside):
            return {outside: OUTSIDE} | {tag: _spelled(form, tag) for tag in inside}
    wrong = [tag for tag in inside if not _FORMS[0].fullmatch(tag)]
    if len(wrong) < len(inside) or outside not in tags or "" in tags:
        shown = ", ".join(repr(tag) for tag in wrong[:5]) + (" …" if len(wrong) > 5 else "")
        raise DataError(
            f"Tags in {where} are not IOB2, nor of a scheme that is converted to it: {shown}. Allowed are "
            "'O', 'B-TYPE' and 'I-TYPE'; IOB1, BIOES, BILOU and BMES; and types alone with 'O' for all other "
            "words. Parts of speech and other tags that every word has are not entities."
        )
    return {outside: OUTSIDE} | {tag: f"I-{tag}" for tag in inside}


def _spelled(form: re.Pattern[str], tag: str) -> str:
    found = form.fullmatch(tag)
    groups = found.groupdict() if found else {}
    return f"{groups['letter'].upper()}-{groups.get('kind', _UNNAMED)}"


def _scheme(tags: set[str], rows: Rows, where: str) -> str:
    letters = {tag[0] for tag in tags if tag != OUTSIDE}
    scheme = next((name for name, allowed in _LETTERS.items() if letters <= set(allowed)), None)
    if scheme is None:
        raise DataError(
            f"Tags in {where} begin with {', '.join(sorted(letters))}, which no one scheme has; known are "
            f"{', '.join(f'{name} ({allowed})' for name, allowed in _LETTERS.items())}. Write all in one."
        )
    if scheme != "IOB2" or not any(_stray(rows)):
        return scheme
    if "B" not in letters:
        return "IO"
    # In IOB1 a B- only parts two entities of one type that stand side by side.
    parts_two = all(
        before[2:] == tag[2:] for row in rows for before, tag in _pairs(row) if tag.startswith("B-")
    )
    return "IOB1" if parts_two else scheme


def _iob2(tags: list[str]) -> Iterator[str]:
    for before, tag in _pairs(tags):
        if tag == OUTSIDE:
            yield tag
        else:
            goes_on = tag[0] not in _OPEN and before[2:] == tag[2:] and before[0] not in _LAST
            yield f"{'I' if goes_on else 'B'}-{tag[2:]}"


def _pairs(tags: list[str]) -> Iterable[tuple[str, str]]:
    return zip([OUTSIDE, *tags], tags, strict=False)


def _stray(rows: Rows) -> Iterator[tuple[int, int, str, str]]:
    """Tags that go on with an entity where none is open."""
    for row, tags in enumerate(rows):
        for position, (before, tag) in enumerate(_pairs(tags)):
            if tag[0] not in f"{OUTSIDE}{_OPEN}" and (before[2:] != tag[2:] or before[0] in _LAST):
                yield row, position, tag, before if position else "the start"


def _refuse_stray(rows: Rows, where: str, scheme: str) -> None:
    stray = list(_stray(rows))
    if stray:
        opens = " or ".join(f"{letter}-" for letter in _LETTERS[scheme] if letter in _OPEN)
        row, position, tag, before = stray[0]
        raise DataError(
            f"Row {row}, word {position} has the tag {tag!r} after {before!r} in {where}: not {scheme}, "
            f"where an entity opens with {opens}. There are {len(stray):,} such tags; others are {scheme}. "
            "Write all tags in one scheme; IOB1, where only a second entity of a type opens with B-, is "
            "converted if all tags are so."
        )


def _note(parts: Sequence[Rows], found: Sequence[Rows], where: str, scheme: str) -> str:
    """What was changed, with how often."""
    pairs = (
        (old, new)
        for part, of_part in zip(parts, found, strict=True)
        for row, of_row in zip(part, of_part, strict=True)
        for old, new in zip(row, of_row, strict=True)
    )
    changed = [(old, new) for old, new in pairs if old != new]
    old, new = changed[0]
    return (
        f"Tags in {where} are {scheme} and were converted to IOB2: {count(len(changed), 'tag')}, such as "
        f"{old!r} to {new!r}.{_MEANING.get(scheme, '')}"
    )


_MEANING = {"IO": " Words of one type side by side are taken as one entity, as such tags cannot part two."}
