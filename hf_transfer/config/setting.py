"""A setting is a dataclass field with its help, aliases and bounds; settings are declared in groups."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hf_transfer import _guard  # noqa: F401

AUTO = "auto"  # of a number that the kit chooses, by what learns and from how many rows


def is_auto(value: object) -> bool:
    """Whether the kit has yet to choose this value."""
    return value == AUTO


def setting(
    default: Any,
    help: str,
    *,
    aliases: Sequence[str] = (),
    choices: Sequence[str] = (),
    scored: bool = True,
    at_least: float | None = None,
) -> Any:
    """Make a dataclass field with its help, aliases, choices and lower bound.

    Args:
        default: Value when nobody says anything; a number that may be left to the kit has `auto`.
        help: One sentence for `--help`.
        aliases: Names that people already type for it.
        choices: The only values allowed; empty means any.
        scored: Whether another value makes another experiment. Paths and outputs do not.
        at_least: The smallest number allowed.
    """
    metadata = {
        "help": help, "aliases": tuple(aliases), "choices": tuple(choices), "scored": scored,
        "at_least": at_least, "auto": is_auto(default) and not choices,
    }  # fmt: skip
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Group:
    """A group of related settings: a frozen dataclass whose fields `setting` made.

    Attributes:
        heading: What stands above them in `--help`.
    """

    heading: ClassVar[str]

    def problems(self) -> list[str]:
        """Errors beyond choices and bounds, a sentence each."""
        return []


def groups_of(config: type) -> "list[type[Group]]":
    """The groups of a configuration class, in the order of its fields."""
    return [base for base in reversed(config.__mro__) if "heading" in vars(base)]
