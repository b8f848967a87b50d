"""Turn any value into safe Markdown: no HTML, no syntax, no secrets."""

import html
import re
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.secrets import local_name, one_line, public
from hf_transfer.machine.wording import UNDEFINED

_MARKDOWN = re.compile(r"([\\`*\[\]|~#$]|(?<![^\W_])_|_(?![^\W_]))")


def escape(value: Any) -> Markup:
    """Make a value safe in Markdown text and tables: no HTML, no syntax, one line, never `None`."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return Markup(UNDEFINED)
    text = _MARKDOWN.sub(r"\\\1", re.sub(r"\s+", " ", public(str(value))))
    return Markup(html.escape(text, quote=False))


def code(value: Any) -> Markup:
    """Set a value as code within a line; not for tables, where a bar would end the cell."""
    text = one_line(value) or "(empty)"
    ticks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if "`" in (text[0], text[-1]) else ""
    return Markup(f"{ticks}{space}{text}{space}{ticks}")


def fence(text: str, language: str = "") -> Markup:
    """Set lines as a block of code, with a fence longer than any inside."""
    text = public(text).replace("<!-- hf-transfer:", "<!--hf-transfer:")
    ticks = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return Markup(f"{ticks}{language}\n{text}\n{ticks}")


def listing(names: Sequence[str], most: int = 12) -> Markup:
    """Name the first of many: "`a`, `b` and 7 more"."""
    words = [code(name) for name in names[:most]]
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return Markup(", ".join(words) + rest)


def link(name: str, folder: str, hub: bool) -> Markup:
    """Name a model or data set, with a link where it is on the Hub."""
    if not hub:
        return code(local_name(name))
    return Markup(f"[{escape(name)}](https://huggingface.co/{folder}{name})")
