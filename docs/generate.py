"""Write the pages of the documentation that follow from the code: settings, verbs, and copies.

    python docs/generate.py

`make docs` runs it. The pages are not kept in git, so that they cannot fall behind.
"""

import io
import os
import re
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import Field, fields
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from hf_transfer.cli.main import main
from hf_transfer.config.run_config import PRESETS, RunConfig
from hf_transfer.tasks import own_headings

HERE = Path(__file__).parent
ROOT = HERE.parent

_WORDS = {bool: "true or false", int: "whole number", float: "number", str: "text"}


def settings_page() -> str:
    """Describe every setting: what it is for, its default, what it takes, its other names."""
    kinds = get_type_hints(RunConfig)
    parts = [
        "# Settings",
        "Each is a line of a YAML file (`num_folds: 10`), a flag (`--num_folds 10` or `--num-folds 10`; "
        "`--no_replay` for `replay: false`), and an argument of `RunConfig`. Flags win over the file, and "
        "the file over the recipe. This page is made from the code.",
        "## Presets",
        "\n".join(f"- `{name}`: {_preset(values)}" for name, values in PRESETS.items()),
        "## All settings",
        *(_setting(f, kinds[f.name]) for f in fields(RunConfig)),
    ]
    return "\n\n".join(parts) + "\n"


def _preset(values: Mapping[str, Any]) -> str:
    settled = ", ".join(f"`{name}={value}`" for name, value in values.items())
    return settled or "what the other settings say"


def _setting(f: "Field[Any]", kind: Any) -> str:
    choices = ", ".join(f"`{choice}`" for choice in f.metadata["choices"])
    lines = [f"- Default: {_default(f.default)}", f"- Takes: {choices or _kind(kind)}"]
    if f.metadata["auto"]:
        lines[1] += ", or `auto`"
    if aliases := f.metadata["aliases"]:
        lines.append("- Also: " + ", ".join(f"`--{name}`" for name in aliases))
    if heading := own_headings().get(f.name):
        lines.append(f"- {heading}.")
    if not f.metadata["scored"]:
        lines.append("- May differ when a run is resumed.")
    return f"### {f.name} {{: #{f.name} }}\n\n{f.metadata['help']}\n\n" + "\n".join(lines)


def _default(value: Any) -> str:
    return "none" if value is None or value in ("", ()) else f"`{str(value).lower()}`"


def _kind(kind: Any) -> str:
    if isinstance(kind, UnionType):
        return _kind(next(k for k in get_args(kind) if k is not type(None))) + ", or `none`"
    if get_origin(kind) is tuple:
        return f"list of {_WORDS[get_args(kind)[0]]}, comma-separated"
    return _WORDS[kind]


def verbs_page() -> str:
    """Show what `--help` says of every verb."""
    overview = _help()
    verbs = re.findall(r"^    (\w+) +\w", overview, flags=re.MULTILINE)
    parts = ["# Verbs", "What `--help` says. This page is made from the code.", _block(overview)]
    parts += [f"## {verb}\n\n{_block(_help(verb))}" for verb in verbs]
    return "\n\n".join(parts) + "\n"


def _help(*verb: str) -> str:
    os.environ |= {"COLUMNS": "100", "NO_COLOR": "1"}
    shown = io.StringIO()
    with redirect_stdout(shown), suppress(SystemExit):
        main([*verb, "--help"])
    return shown.getvalue().strip()


def _block(text: str) -> str:
    return f"```text\n{text}\n```"


PAGES: dict[str, Callable[[], str]] = {
    "reference/settings.md": settings_page,
    "reference/verbs.md": verbs_page,
    "reference/benchmarks.md": (ROOT / "benchmarks" / "README.md").read_text,
    "reference/changelog.md": (ROOT / "CHANGELOG.md").read_text,
}

if __name__ == "__main__":
    for name, make in PAGES.items():
        (HERE / name).write_text(make(), encoding="utf-8")
