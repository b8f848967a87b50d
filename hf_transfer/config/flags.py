"""Read settings from the command line and from YAML files."""

import argparse
import datetime
import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, fields
from pathlib import Path
from reprlib import Repr
from types import UnionType
from typing import TYPE_CHECKING, Any, NoReturn, get_args, get_origin, get_type_hints

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.setting import Group, groups_of
from hf_transfer.errors import ConfigError
from hf_transfer.machine.parsing import parse_yaml

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_headings: list[Callable[[], Mapping[str, str]]] = []


def show_apart(headings: Callable[[], Mapping[str, str]]) -> None:
    """Let `--help` show some settings apart: those that only some inputs or targets use say so themselves.

    Args:
        headings: Gives the heading of each, by its name; called where help is asked for.
    """
    _headings.append(headings)


def read_flags(
    defaults: Group, words: Sequence[str], description: str | None = None
) -> tuple[dict[str, Any], str | None]:
    """Parse `[FILE.yaml] [--setting value …]` into the settings given as flags, and the file's name.

    Args:
        defaults: A configuration, whose values `--help` shows as the defaults.
        words: Of the command line.
        description: What `--help` says first.

    Raises:
        ConfigError: If a flag is unknown, with the nearest name.
    """
    flags = _flag_words(words)
    helped = not {"-h", "--help"}.isdisjoint(flags)
    apart = {name: heading for give in _headings if helped for name, heading in give().items()}
    given = vars(_parser(defaults, description, apart).parse_args(flags))
    return given, given.pop("config_file", None)


class _Parser(argparse.ArgumentParser):
    """An argument parser that raises our errors instead of leaving the process."""

    names: Mapping[str, str]

    def error(self, message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            word = unknown.split()[0]
            message = (
                unknown_setting(word.lstrip("-"), self.names, "the command line")
                if word.startswith("--")
                else (
                    f"{word!r} is not expected here; settings are written --name value, after one YAML file."
                )
            )
        raise ConfigError(message)


def _parser(defaults: Group, description: str | None, apart: Mapping[str, str]) -> _Parser:
    config = type(defaults)
    parser = _Parser(
        usage="%(prog)s [FILE.yaml] [--setting value …]",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.names = setting_names(config)
    parser.add_argument("config_file", nargs="?", metavar="FILE.yaml", help="Settings; flags win over them.")
    types = get_type_hints(config)
    headings = {f.name: group.heading for group in groups_of(config) for f in fields(group)}
    shown = dict.fromkeys([*headings.values(), *apart.values()])
    sections = {heading: parser.add_argument_group(heading) for heading in shown}
    for f in fields(config):
        heading = apart.get(f.name, headings[f.name])
        _add_flag(sections[heading], f, types[f.name], getattr(defaults, f.name))
    return parser


def _add_flag(section: "argparse._ArgumentGroup", f: "Field[Any]", kind: Any, default: Any) -> None:
    flags = [f"--{name}" for name in (f.name, *f.metadata["aliases"])]
    text = f"{f.metadata['help']} (default: {_as_flag(default)})".replace("%", "%%")
    if kind is bool:
        section.add_argument(*flags, dest=f.name, nargs="?", const=True, metavar="BOOL", help=text)
        section.add_argument(
            f"--no_{f.name}", dest=f.name, action="store_const", const=False, help=argparse.SUPPRESS
        )
    else:
        shown = "{" + ",".join(f.metadata["choices"]) + "}" if f.metadata["choices"] else "VALUE"
        section.add_argument(*flags, dest=f.name, metavar=shown, help=text)


def _as_flag(value: Any) -> str:
    """Write a value as a flag takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return "none" if value in (None, "") else str(value)


def _flag_words(words: Sequence[str]) -> list[str]:
    """Accept `--batch-size` for `--batch_size`, and a value with a dash in front (`--trainable -stem`)."""
    result: list[str] = []
    for word in words:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            result.append("--" + name.replace("-", "_") + equals + value)
        elif (
            word.startswith("-")
            and word != "-h"
            and result
            and result[-1].startswith("--")
            and "=" not in result[-1]
        ):
            result[-1] += f"={word}"
        else:
            result.append(word)
    return result


def setting_names(config: type["DataclassInstance"]) -> dict[str, str]:
    """Map each setting's name and aliases to its name."""
    return {name: f.name for f in fields(config) for name in (f.name, *f.metadata["aliases"])}


def unknown_setting(name: str, names: Mapping[str, str], source: str) -> str:
    """Write the error for an unknown setting, with the nearest name."""
    near = difflib.get_close_matches(name.replace("-", "_").removeprefix("no_"), names, n=1, cutoff=0.6)
    advice = f"Did you mean {near[0]!r}?" if near else "See --help for all settings."
    return f"Unknown setting {name!r} in {source or 'the settings'}. {advice}"


def read_settings_file(path: Path) -> dict[str, Any]:
    """Read the settings in a YAML file, under the names used there.

    Raises:
        ConfigError: If it is not there, or holds no settings.
    """
    if not path.is_file():
        raise ConfigError(
            f"No such settings file: {path.absolute()}. Settings on the line are written --name value."
        )
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ConfigError(
            f"{path} is not readable as YAML: {error}. Write 'setting: value' lines."
        ) from error
    if values is not None and not isinstance(values, dict):
        raise ConfigError(f"{path} must hold 'setting: value' lines, not a {type(values).__name__}.")
    return values or {}


def shown_value(value: Any) -> str:
    """Shorten a long or deep value for an error message."""
    short = Repr()
    short.maxlevel, short.maxstring, short.maxother = 2, 120, 60
    return short.repr(value)


def typed(value: Any, kind: Any) -> Any:
    """Convert a flag's word or a YAML value to a type; a ValueError completes the sentence `x=… …`."""
    parts = value if isinstance(value, (list, tuple)) else [value]
    if not all(part is None or isinstance(part, (str, int, float, datetime.date)) for part in parts):
        raise ValueError("must be a single value, or a list of single values.")
    return _as_type(value, kind)


def _as_type(value: Any, kind: Any) -> Any:
    if isinstance(kind, UnionType):
        kind = next(k for k in get_args(kind) if k is not type(None))
        if kind is str and isinstance(value, (list, tuple)):
            value = _as_type(value, str)
        if value is None or (isinstance(value, str) and value.lower() in {"none", "null", ""}):
            return None
    if get_origin(kind) is tuple:
        if isinstance(value, str) and value.lower() in {"none", "null"}:
            return ()
        words = (
            value.split(",")
            if isinstance(value, str)
            else value
            if isinstance(value, (list, tuple))
            else [value]
        )
        kind = get_args(kind)[0]
        return tuple(_as_type(word, kind) for word in words if str(word).strip())
    if kind is bool:
        return _as_bool(value)
    if kind is str:
        if isinstance(value, (list, tuple)):
            return ",".join(str(part) for part in value)
        return str(value)
    return _as_number(value, kind)


def _as_bool(value: Any) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if str(value).lower() not in words:
        raise ValueError("must be true or false.")
    return words[str(value).lower()]


def _as_number(value: Any, kind: type[int] | type[float]) -> int | float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"must be {'a whole number' if kind is int else 'a number'}.") from None
    if isinstance(value, bool) or number != number or abs(number) == float("inf"):
        raise ValueError("must be a finite number.")
    if kind is int and number != int(number):
        raise ValueError("must be a whole number.")
    return kind(number)
