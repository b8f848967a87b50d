"""What kind of labels a task learns: read from the labels themselves, or as the setting `target` says."""

from collections.abc import Iterable, Sequence
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.setting import is_auto
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.tasks.targets.labels import WRITTEN_MISSING, LabelColumn, as_number, is_missing
from hf_transfer.tasks.targets.target import Target


def choose_target(column: LabelColumn, targets: Sequence[type[Target]], wanted: str = "auto") -> type[Target]:
    """Choose how to read a column of labels.

    Texts, whole numbers and `ClassLabel` are classes; lists are sets of labels; numbers with fractions, or
    lists of them, are numbers. Numbers with a point that are all whole, such as 3.0, may be either, so that a
    person has to say.

    Args:
        column: Of the rows to train on.
        targets: What the task can learn, the usual one first.
        wanted: The setting `target`.

    Raises:
        ConfigError: If the task cannot learn what is wanted.
        DataError: If it cannot be told.
    """
    known = {target.name: target for target in targets}
    if not is_auto(wanted):
        if wanted not in known:
            raise ConfigError(f"target={wanted!r} is not one of {', '.join(known)}, which this task learns.")
        if column.names and not known[wanted].in_columns:
            able = " or ".join(target.name for target in targets if target.in_columns)
            raise ConfigError(
                f"label_columns hold {able}, and {wanted} have one label a row; give label_column instead."
            )
        return known[wanted]
    if len(targets) == 1:
        return targets[0]
    name = "classes" if column.declared and not _lists(column.values) else _by_values(column)
    return known.get(name, targets[0])


def _by_values(column: LabelColumn) -> str:
    given = [value for value in column.values if not is_missing(value) and not _is_written_missing(value)]
    if _lists(given):
        inside = {type(one) for value in given if isinstance(value, list | tuple) for one in value}
        return "numbers" if inside and inside <= {int, float} and float in inside else "label_sets"
    if not given or any(as_number(value) is None for value in given):
        return "classes"
    if any(not float(value).is_integer() for value in given):
        return "numbers"
    if any(isinstance(value, float) or (isinstance(value, str) and "." in value) for value in given):
        raise DataError(
            f"The labels in {column.where} are numbers such as {given[0]!r}, all of them whole: they may "
            "stand for classes, or for an amount. Say which: --target classes or --target numbers."
        )
    return "classes"


def _is_written_missing(value: Any) -> bool:
    return isinstance(value, str) and value in WRITTEN_MISSING


def _lists(values: Iterable[Any]) -> bool:
    return any(isinstance(value, list | tuple) for value in values)
