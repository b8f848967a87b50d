"""A page to label rows in a browser, without a network: one file that shows them and writes their table."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from hf_transfer import _guard  # noqa: F401
from hf_transfer.report.page.template import page_template
from hf_transfer.tasks.inputs.input import Original

_MOST_BUTTONS = 12  # with more labels, one is chosen from a list


@dataclass(frozen=True)
class RowToLabel:
    """A row and what stands in it."""

    row_id: int | str
    original: Original


def label_page(rows: Sequence[RowToLabel], label_names: Sequence[str], name: str) -> str:
    """Give the page as HTML: it runs no script but its own, and loads nothing.

    Args:
        rows: To be labelled, in the order in which they are shown.
        label_names: What each may be.
        name: Of the data set.
    """
    script = (Path(__file__).parent / "label.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return page_template("label.html").render(
        rows=[(_exact(row.row_id), row.original) for row in rows],
        label_names=[_exact(label) for label in label_names],
        name=name,
        buttons=len(label_names) <= _MOST_BUTTONS,
        digest=digest,
        script=Markup(script),
    )


def _exact(value: int | str) -> Markup:
    """A value that comes back from the page as it is: escaped, and nothing that looks private left out."""
    return Markup.escape(str(value))
