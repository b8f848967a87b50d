"""Templates of pages for a browser, filled strictly and escaped."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.secrets import local_name, public
from hf_transfer.machine.wording import UNDEFINED, duration, interval, number


def page_template(name: str, **filters: Callable[..., Any]) -> jinja2.Template:
    """Open the template of a page: every value is escaped, none may be absent.

    Args:
        name: Of the file beside this one.
        filters: What it calls beside the usual ones.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        finalize=_readable,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": "{:,}".format, "duration": duration, "interval": interval, "number": number,
        "local": local_name,
    } | filters  # fmt: skip
    return environment.get_template(name)


def _readable(value: Any) -> Any:
    """Leave out what should not be seen or would hide letters; jinja2 escapes the rest."""
    if isinstance(value, Markup):
        return value
    return UNDEFINED if value is None else public(str(value))
