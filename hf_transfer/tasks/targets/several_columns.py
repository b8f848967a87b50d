"""Labels that are written in several columns, or as texts with a separator."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.config.run_config import RunConfig
from hf_transfer.config.setting import is_auto
from hf_transfer.errors import DataError
from hf_transfer.tasks.targets.labels import as_number, is_missing, refuse_rows

if TYPE_CHECKING:
    from datasets import Dataset

TOGETHER = "labels of several columns"

_MARKS = {"0": 0, "1": 1, "false": 0, "true": 1, "no": 0, "yes": 1}
_WRITTEN = "0 or 1, true or false, yes or no"


@dataclass(frozen=True)
class LabelColumns:
    """Several columns that hold the labels of a row: a mark for each label, or a number each.

    Attributes:
        names: Of the columns; none where one column holds the labels.
        numbers: Whether they hold numbers.
    """

    names: tuple[str, ...] = ()
    numbers: bool = False

    @classmethod
    def of(cls, part: "Dataset", config: RunConfig) -> "LabelColumns":
        """Read what the columns hold from the rows to train on, or from the setting `target`.

        Raises:
            DataError: If some hold marks and others numbers.
        """
        names = config.label_columns
        if not names or not is_auto(config.target):
            return cls(names, config.target == "numbers")
        of_marks = [_all_are(as_mark, part[name][:]) for name in names]
        of_numbers = [_all_are(as_number, part[name][:]) for name in names]
        mixed = any(of_marks) and not all(of_marks)
        if mixed and all(of_numbers):
            marks, others = (_listed(names, of_marks, kind) for kind in (True, False))
            raise DataError(
                f"In label_columns, 0 and 1 stand in {marks}, and other numbers in {others}. If all are "
                "amounts, pass --target numbers; if each says whether a row has a label, they must all be 0 "
                "or 1 (--target label_sets names the rows that are not)."
            )
        return cls(names, all(of_numbers) and not all(of_marks))

    def named(self, config: RunConfig) -> RunConfig:
        """The settings with the column that `joined` makes, if it makes one."""
        return replace(config, label_columns=(), label_column=TOGETHER) if self.names else config

    def joined(self, part: "Dataset") -> "Dataset":
        """Add a column of lists to the rows: of the labels that they have, or of their numbers.

        Raises:
            DataError: If a column holds something else.
        """
        from datasets import ClassLabel, List, Value

        if not self.names:
            return part
        read = _numbers if self.numbers else _marks
        rows = zip(*(read(part, name) for name in self.names), strict=True)
        if self.numbers:
            return part.add_column(TOGETHER, list(map(list, rows)), feature=List(Value("float64")))
        sets = [[i for i, mark in enumerate(row) if mark] for row in rows]
        return part.add_column(TOGETHER, sets, feature=List(ClassLabel(names=list(self.names))))


def separated(values: list[Any], separator: str | None) -> list[Any]:
    """Cut each text into its labels; one without any has none."""
    if separator is None:
        return values
    return [_cut(value, separator) if isinstance(value, str) else value for value in values]


def _cut(text: str, separator: str) -> list[str]:
    return [label for part in text.split(separator) if (label := part.strip())]


def as_mark(value: Any) -> int | None:
    """0 or 1, however it is written; None for anything else."""
    if isinstance(value, str):
        return _MARKS.get(value.strip().lower().removesuffix(".0"))
    return int(value) if value in (0, 1) else None


def _all_are(read: Callable[[Any], float | None], values: Sequence[Any]) -> bool:
    """Whether all values can be read so; one that is missing is told later."""
    return all(is_missing(value) or read(value) is not None for value in values)


def _marks(part: "Dataset", column: str) -> list[int]:
    values = part[column][:]
    marks = [mark for value in values if (mark := as_mark(value)) is not None]
    wrong = [row for row, value in enumerate(values) if as_mark(value) is None]
    refuse_rows(
        wrong,
        f"with neither 0 nor 1 in column {column!r}",
        f"The first has {values[wrong[0]]!r}. Each of label_columns says whether a row has that label: "
        f"{_WRITTEN}. If they are amounts, pass --target numbers."
        if wrong
        else "",
    )
    return marks


def _numbers(part: "Dataset", column: str) -> list[float]:
    values = part[column][:]
    numbers = [number for value in values if (number := as_number(value)) is not None]
    wrong = [row for row, value in enumerate(values) if as_number(value) is None]
    refuse_rows(
        wrong,
        f"without a number in column {column!r}",
        f"The first has {values[wrong[0]]!r}. Fill the numbers in, or leave such rows out." if wrong else "",
    )
    return numbers


def _listed(names: Sequence[str], kinds: Sequence[bool], kind: bool) -> str:
    return ", ".join(repr(name) for name, of in zip(names, kinds, strict=True) if of is kind)
