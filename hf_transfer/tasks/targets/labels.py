"""Give each class a name and a number, once, from all rows and before any split."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import DataError
from hf_transfer.machine.wording import count, some

# What programs write where a value is missing; "NA" is not among them, as that is also Namibia.
WRITTEN_MISSING = frozenset({
    "nan", "NaN", "NAN", "None", "null", "NULL", "<NA>", "NaT", "N/A", "n/a", "#N/A"
})  # fmt: skip

_INTEGER = re.compile(r"-?(0|[1-9]\d*)")  # "007" is a name, not a number
_DECIMAL = re.compile(r"[-+]?(\d+\.\d*|\.\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True)
class LabelColumn:
    """One split's labels as they were read.

    Attributes:
        values: One a row.
        where: How messages call it, e.g. "column 'label' of split 'test'".
        declared: Names of a `ClassLabel` feature, in the order of its ids; None without one.
        inputs: The standard inputs of the same rows, which are read only where a target needs them.
        name: Of the column.
        names: Of the numbers of a row, where each has a column of its own.
    """

    values: Sequence[Any]
    where: str
    declared: tuple[str, ...] | None = None
    inputs: Sequence[Any] = ()
    name: str = "label"
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class NamedLabels:
    """Label names for all splits, and each split's labels as positions in them.

    Attributes:
        names: In the order of their ids.
        ids: Of each split.
        notes: What was changed, or is odd, a sentence each.
        scheme: How the labels were written, where there are several ways.
    """

    names: tuple[str, ...]
    ids: tuple[list[Any], ...]
    notes: tuple[str, ...] = ()
    scheme: str = ""


def name_labels(columns: Sequence[LabelColumn]) -> NamedLabels:
    """Fix the label names from all columns together; the first is the one to train on.

    Names of a `ClassLabel` stay as they are. Others are sorted: whole numbers by value, all else as
    text; so the same labels get the same ids whatever format they were stored in.

    Raises:
        DataError: If a label is missing, unknown, fractional or out of range, if two names differ only
            in case or spaces, if splits disagree on names, or if there is only one class.
    """
    words = [_as_words(column) for column in columns]
    names = declared_names(columns)
    if names is None:
        names = sorted_names({word for part in words for word in part})
        refuse_lookalikes(names, columns[0].where)
    ids = {name: i for i, name in enumerate(names)}
    for column, part in zip(columns, words, strict=True):
        _refuse_unknown(part, names, column.where)
    counts = [Counter(part) for part in words]
    if len(counts[0]) < 2:
        raise DataError(
            f"All {len(words[0])} rows have the label {words[0][0]!r} in {columns[0].where}; a classifier "
            "needs two classes or more. Take another column with --label_column, or another split."
        )
    notes = () if columns[0].declared else missing_notes(words[0], "label", columns[0].where)
    numbers = tuple([ids[word] for word in part] for part in words)
    return NamedLabels(names, numbers, (*absence_notes(names, counts), *notes))


def declared_names(columns: Sequence[LabelColumn]) -> tuple[str, ...] | None:
    """Give the names that a `ClassLabel` feature declares, or None where no column has one.

    Raises:
        DataError: If two columns declare other names, or another order.
    """
    with_names = [column for column in columns if column.declared is not None]
    for column in with_names[1:]:
        if column.declared != with_names[0].declared:
            raise DataError(
                f"Label names differ: {with_names[0].where} has {list(with_names[0].declared or ())}, "
                f"{column.where} has {list(column.declared or ())}. They must be the same, in the same "
                "order; cast one to the other's ClassLabel by name."
            )
    return with_names[0].declared if with_names else None


def refuse_lookalikes(names: Iterable[str], where: str) -> None:
    """Stop at two names that differ only in case, spaces or Unicode form: one class written in two ways.

    Raises:
        DataError: Naming the two.
    """
    seen: dict[str, str] = {}
    for name in names:
        plain = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        if plain in seen:
            raise DataError(
                f"Labels {seen[plain]!r} and {name!r} in {where} differ only in case or spaces. Write them "
                "alike, or, if they are two classes, store them as a ClassLabel."
            )
        seen[plain] = name


def refuse_rows(rows: Sequence[int], what: str, advice: str) -> None:
    """Stop with a count and the first row numbers, if any row is at fault.

    Raises:
        DataError: If `rows` is not empty.
    """
    if rows:
        raise DataError(f"{count(len(rows), 'row')} {what}: {some(rows)} (the first is row 0). {advice}")


def absence_notes(names: Sequence[str], counts: Sequence[Counter[str]]) -> tuple[str, ...]:
    """Say which names no row has, or only the test rows; the first count is of the rows to train on."""
    elsewhere = set[str]().union(*counts[1:])
    absent = [name for name in names if not counts[0][name]]
    only_test = [name for name in absent if name in elsewhere]
    nowhere = [name for name in absent if name not in elsewhere]
    notes = []
    if only_test:
        notes.append(f"Only the test split has rows of {_quoted(only_test)}; they cannot be learned.")
    if nowhere:
        notes.append(f"No row has the label {_quoted(nowhere)}, though the dataset declares it.")
    return tuple(notes)


def missing_notes(values: Iterable[str], noun: str, where: str) -> tuple[str, ...]:
    """Say which rows have a text that often stands for a missing value; here it is one like any other."""
    rows = [(row, value) for row, value in enumerate(values) if value in WRITTEN_MISSING]
    if not rows:
        return ()
    return (
        f"{count(len(rows), 'row')} with the {noun} {_quoted(sorted({value for _, value in rows}))} in "
        f"{where} kept: {some([row for row, _ in rows])}. If it means a missing {noun}, leave them out.",
    )


def _as_words(column: LabelColumn) -> list[str]:
    """Every label by its name; the one form in which labels of all types can be compared."""
    missing = [row for row, value in enumerate(column.values) if is_missing(value)]
    refuse_rows(missing, f"without a label in {column.where}", "Label them or leave them out.")
    if column.declared is not None:
        return _from_ids(column.values, column.declared, column.where)
    words = (_as_word(value, row, column.where) for row, value in enumerate(column.values))
    seen: dict[str, str] = {}  # one object for each name, as rows may be many
    return [seen.setdefault(word, word) for word in words]


def is_missing(value: Any) -> bool:
    """Whether a value says that there is no label."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def _from_ids(values: Sequence[int], names: tuple[str, ...], where: str) -> list[str]:
    unlabelled = [row for row, value in enumerate(values) if value == -1]
    refuse_rows(unlabelled, f"with label -1, which means unlabelled, in {where}", "Take a labelled split.")
    wrong = [row for row, value in enumerate(values) if not 0 <= value < len(names)]
    refuse_rows(
        wrong,
        f"with a label id outside 0 to {len(names) - 1} in {where}",
        f"The first is {values[wrong[0]] if wrong else None}; the names are {list(names)}.",
    )
    return [names[value] for value in values]


def _as_word(value: Any, row: int, where: str) -> str:
    if isinstance(value, (bool, int)):
        return str(value)
    if isinstance(value, float):
        return _whole(value, row, where)
    if isinstance(value, str):
        return _whole(float(value), row, where) if _DECIMAL.fullmatch(value) else value
    raise DataError(
        f"Labels in {where} are of type {type(value).__name__}, e.g. {value!r}; a class is one text or one "
        "whole number. Take another column with --label_column."
    )


def _whole(value: float, row: int, where: str) -> str:
    if not value.is_integer():
        raise DataError(
            f"Row {row} has the label {value!r} in {where}, and classes are names or whole numbers. Turn "
            "amounts into classes first, e.g. 'low' and 'high'; or learn the numbers, where a task can: "
            "--target numbers."
        )
    return str(int(value))


def as_number(value: Any) -> float | None:
    """A number, or a text that is one; None for anything else."""
    if isinstance(value, str):
        found = re.fullmatch(f"({_INTEGER.pattern})|({_DECIMAL.pattern})", value.strip())
        return float(value) if found else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def sorted_names(words: set[str]) -> tuple[str, ...]:
    """Label names in order: whole numbers by value, all else as text."""
    if all(_INTEGER.fullmatch(word) for word in words):
        return tuple(sorted(words, key=int))
    return tuple(sorted(words))


def _refuse_unknown(words: list[str], names: tuple[str, ...], where: str) -> None:
    unknown = sorted(set(words).difference(names))
    if unknown:
        raise DataError(f"Labels {unknown} in {where} are not among the declared names {list(names)}.")


def _quoted(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)


def renumbered(labels: Sequence[Any], names: Sequence[str], known: Sequence[str], where: str) -> list[Any]:
    """Labels of other rows, each a number or a list of them, in the numbers of a run.

    Args:
        labels: Numbers of `names`.
        names: Of the labels of these rows.
        known: Of the run's labels, in the order of their ids.
        where: What to call the rows.

    Raises:
        DataError: If the run does not have one of the labels.
    """
    used = {i for label in labels for i in (label if isinstance(label, list) else [label])}
    if unknown := [names[i] for i in sorted(used) if names[i] not in known]:
        raise DataError(
            f"{where} has labels that the model cannot give: {', '.join(map(repr, unknown[:5]))}"
            f"{' …' if len(unknown) > 5 else ''}. It knows {', '.join(map(repr, known[:20]))}. Rename "
            "them, or leave these rows out."
        )
    numbers = [known.index(name) if name in known else -1 for name in names]
    return [[numbers[i] for i in label] if isinstance(label, list) else numbers[label] for label in labels]
