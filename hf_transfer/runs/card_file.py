"""Update a model card without losing what a person wrote into it.

What the kit writes stands in sections between marks, and a record at the end says what it wrote.
Text around the sections is a person's and stays. So do keys of the YAML header that a person
added, changed or removed, sections that a person removed, and results of others in the model
index; the kit's own numbers are always replaced.
"""

import json
import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import zip_longest
from pathlib import Path
from typing import Any

import yaml

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError
from hf_transfer.machine.digests import bytes_digest
from hf_transfer.machine.parsing import parse_yaml
from hf_transfer.machine.paths import read_text

KIT = "hf-transfer-kit"

Header = dict[str, Any]

_SECTION = re.compile(r"^<!-- hf-transfer:begin ([\w-]+) -->\n.*?^<!-- hf-transfer:end \1 -->\n", re.M | re.S)
_MARK = re.compile(r"^<!-- hf-transfer:(begin|end) ([\w-]+) -->$", re.M)
_RECORD = re.compile(r"^<!-- (\{\"header\": \{[^{}]*\}, \"sections\": \[[^][]*\]\}) -->$", re.M)


def merge_card(old: str, new: str) -> str:
    """Merge the new card with what a person wrote into the old one.

    A person's text in `new` that `old` lacks is kept too, before the same section.

    Raises:
        DataError: If the header or the marks of one of them are broken.
    """
    (old_header, old_body), (header, body) = _split(old), _split(new)
    merged = _merged_body(_with_sections(old_body, body), body)
    return join_card(_merged_header(old_header, header, _record(old_body)["header"]), merged)


def stale_lines(old: str, new: str) -> Iterator[tuple[str, str | None, str | None]]:
    """Generated lines that differ from a fresh card; empty lines and a person's are skipped.

    Args:
        old: The card that is there.
        new: The card as the results make it.

    Yields:
        The section or key of the header, the line that is there, and the line that ought to be; None
        where the one or the other has no more.

    Raises:
        DataError: If the header or the marks of one of them are broken.
    """
    (old_header, old_body), (header, body) = _split(old), _split(merge_card(old, new))
    before = {f"header, {key}": _yaml(value) for key, value in old_header.items()} | _sections(old_body)
    after = {f"header, {key}": _yaml(value) for key, value in header.items()} | _sections(body)
    for name in dict.fromkeys([*after, *before]):
        there, made = (side.get(name, "").splitlines() for side in (before, after))
        for change, a, b, c, d in SequenceMatcher(None, there, made, autojunk=False).get_opcodes():
            if change != "equal":
                pairs = zip_longest(there[a:b], made[c:d])
                yield from ((name, *pair) for pair in pairs if any(line and line.strip() for line in pair))


def without_section(text: str, name: str) -> str:
    """A card's text without one of the kit's sections, which its record does not list then either."""
    text = _SECTION.sub(lambda found: "" if found[1] == name else found[0], text)
    return _RECORD.sub(lambda found: re.sub(rf', "{name}"(?=[],])', "", found[0]), text)


def card_name(text: str) -> str | None:
    """Model name in a card's metadata, if any.

    Raises:
        DataError: If the header or the marks are broken.
    """
    index = _split(text)[0].get("model-index")
    entry = index[0] if isinstance(index, list) and index else None
    return str(entry["name"]) if isinstance(entry, dict) and "name" in entry else None


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000)


def join_card(header: Header, body: str) -> str:
    """Join a header and a body."""
    return f"---\n{_yaml(header)}---\n{body}"


def with_record(header: Header, body: str) -> str:
    """Append a record of the generated text, so that the next merge recognises a person's changes."""
    digests = {key: _digest(value) for key, value in header.items()}
    record = json.dumps({"header": digests, "sections": list(_sections(body))})
    own = f"<!-- hf-transfer:begin record -->\n<!-- {record} -->\n<!-- hf-transfer:end record -->"
    return f"\n{body}\n{own}\n"


def read_card(path: Path) -> str:
    """Read a card's text.

    Raises:
        DataError: If it is not UTF-8, or its header or its marks are broken.
    """
    try:
        text = read_text(path)
    except (UnicodeDecodeError, OSError) as error:
        raise _broken(str(error)) from error
    _split(text)
    return text


def _broken(what: str) -> DataError:
    return DataError(
        f"The README.md that is there cannot be brought up to date: {what}. Fix it, or move it away."
    )


def _split(text: str) -> tuple[Header, str]:
    """Split a card into header and body; raise an error that says what is broken."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").rstrip("\n") + "\n"
    match = re.match(r"---\n(.*?\n)?---[ \t]*\n", text, re.S)
    try:
        header = (parse_yaml(match[1] or "") or {}) if match else {}
    except ValueError as error:
        raise _broken(str(error)) from error
    if not isinstance(header, dict):
        raise _broken("its YAML header must hold 'key: value' lines")
    body = text[match.end() :] if match else text
    marks = [match.groups() for match in _MARK.finditer(body)]
    names = [name for _, name in marks[::2]]
    if marks != [(kind, name) for name in names for kind in ("begin", "end")] or len(set(names)) < len(names):
        raise _broken("each <!-- hf-transfer:begin NAME --> needs an end of the same name, once")
    return header, body


def _sections(body: str) -> dict[str, str]:
    return {match[1]: match[0] for match in _SECTION.finditer(body)}


def _record(body: str) -> dict[str, Any]:
    match = _RECORD.search(_sections(body).get("record", ""))
    return json.loads(match[1]) if match else {"header": {}, "sections": []}


def _digest(value: Any) -> str:
    return bytes_digest(json.dumps(value, sort_keys=True, default=str).encode(), 6)


def _merged_header(old: Header, new: Header, digests: dict[str, str]) -> Header:
    merged = {}
    for key in [*old, *(key for key in new if key not in old)]:
        if key == "model-index":
            merged[key] = _merged_index(old.get(key), new.get(key, []))
        elif key in old and digests.get(key) != _digest(old[key]):
            merged[key] = old[key]
        elif key in new and (key in old or key not in digests):
            merged[key] = new[key]
    return {key: value for key, value in merged.items() if key != "model-index" or value}


def _merged_index(old: Any, new: list[Header]) -> list[Header]:
    merged = [dict(entry) for entry in new]
    for entry in old if isinstance(old, list) else []:
        results = entry.get("results") if isinstance(entry, dict) else None
        kept = [result for result in results or [] if not _is_ours(result)]
        if kept and merged and merged[0]["name"] == entry.get("name"):
            merged[0]["results"] = [
                *merged[0]["results"],
                *(r for r in kept if r not in merged[0]["results"]),
            ]
        elif kept and entry not in merged:
            merged.append(entry | {"results": kept})
    return merged


def _is_ours(result: Any) -> bool:
    dataset = result.get("dataset") if isinstance(result, dict) else None
    arguments = dataset.get("args") if isinstance(dataset, dict) else None
    return isinstance(arguments, dict) and arguments.get("kit") == KIT


def _with_sections(old: str, new: str) -> str:
    """Replace the kit's sections in place, remove obsolete ones, and add new ones."""
    fresh, known, before = _sections(new), _record(old)["sections"], _sections(old)
    for name, text in before.items():
        # A section that has nothing to say any more goes with the empty line after it.
        gone = text + "\n" if text + "\n" in old else text
        old = old.replace(text, fresh[name]) if name in fresh else old.replace(gone, "")
    previous = ""
    for name, text in fresh.items():
        if name in before:
            previous = name
        elif name not in known:
            end = f"<!-- hf-transfer:end {previous} -->\n"
            old = old.replace(end, f"{end}\n{text}", 1) if previous else f"{old.rstrip()}\n\n{text}"
            previous = name
    return old


def _merged_body(body: str, new: str) -> str:
    """Add missing paragraphs around the kit's sections."""
    pieces = _SECTION.split(new)
    for around, name in zip(pieces[::2], [*pieces[1::2], ""], strict=True):
        mark = f"<!-- hf-transfer:begin {name} -->\n"
        for paragraph in (text.strip("\n") for text in around.split("\n\n")):
            if paragraph in body:
                continue
            body = body.replace(mark, f"{paragraph}\n\n{mark}") if mark in body else f"{body}\n{paragraph}\n"
    return body
