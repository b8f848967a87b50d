"""Pictures with a text and columns of a table: a product, its title, its price and its colour."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError
from hf_transfer.machine.wording import count
from hf_transfer.tasks.inputs.image_text import ImageText, values_of
from hf_transfer.tasks.inputs.input import Original, SimpleProbe
from hf_transfer.tasks.inputs.table import Table
from hf_transfer.tasks.inputs.two_columns import object_with

if TYPE_CHECKING:
    from datasets import Dataset


class ImageTextTable(ImageText):
    """A picture, a text and a table's values a row; any of the three may be missing.

    Args:
        table: Its columns.
    """

    parts: ClassVar[tuple[str, ...]] = (*ImageText.parts, "table")
    empty: ClassVar[str] = "with neither a picture, a text nor a value in the table"
    simple_model: ClassVar[str] = f"{ImageText.simple_model} and the table"
    table: Table

    def __init__(self, table: Table) -> None:
        self.table = table

    def read(
        self, dataset: "Dataset", column: str, *, folder: Path | None, outside: bool = False
    ) -> "Dataset":
        """The same, with the table's values as a third field."""
        from hf_transfer.tasks.inputs.text_column import beside

        others = super().read(dataset, column, folder=folder, outside=outside)
        return beside(others, "table", self.table.read(dataset))

    def from_text(self, text: str) -> Any:
        """Those of pictures with texts, or an object of JSON with "image", "text" and "table"."""
        found = object_with(text, ("image", "text", "table"))
        if found is None:
            return super().from_text(text) | {"table": self.table.checked(None)}
        if not all(isinstance(found[name], str | None) for name in ("image", "text")) or not isinstance(
            found["table"], Mapping | None
        ):
            raise DataError(
                f'{text[:60]!r} should hold a path as "image", a text as "text" and an object as "table". '
                "Write null for what is missing."
            )
        return {
            "image": {"bytes": None, "path": found["image"]} if found["image"] else None,
            "text": found["text"] or "",
            "table": self.table.checked(found["table"]),
        }

    def is_whole(self, word: str) -> bool:
        """Whether a word holds both, or all three."""
        return super().is_whole(word) or object_with(word, ("image", "text", "table")) is not None

    def empty_rows(self, inputs: "Dataset") -> list[int]:
        """Those with none of the three."""
        values = self.table_values(inputs)
        return [row for row in super().empty_rows(inputs) if not any(_there(values[row]))]

    def doubts(self, inputs: "Dataset") -> tuple[str, ...]:
        """Also how many rows lack a value of the table, and how such are read."""
        missing = self.table.missing(self.table_values(inputs))
        words = ", ".join(f"{count(number, 'row')} without {name!r}" for name, number in missing.items())
        how = (
            "a missing number counts as the mean of the rows that are learned from, and a column of its own "
            "says so; a missing category is one of its own"
        )
        return (*super().doubts(inputs), *((f"{words}: {how}.",) if words else ()))

    def content(self, value: Any) -> list[str | bytes]:
        """Also the table's values."""
        return [*super().content(value), *self.table.content(value["table"])]

    def keys(self, parts: "Sequence[Dataset]", digest_of: Mapping[int, Any]) -> list[Any]:
        """Rows are equal if their values in the table are too."""
        keys = super().keys(parts, digest_of)
        words = [tuple(self.table.content(values)) for part in parts for values in self.table_values(part)]
        return list(zip(keys, words, strict=True))

    def original(self, value: Any) -> Original:
        """Also the values, behind the text."""
        from dataclasses import replace

        shown = super().original(value)
        return replace(shown, text=f"{shown.text} ({', '.join(self.table.words(value.get('table')))})")

    @property
    def simple_probe(self) -> SimpleProbe:
        """The same beside the table's columns."""
        from hf_transfer.tasks.inputs.simple_models import picture_text_probe

        return partial(picture_text_probe, table=self.table)

    def table_values(self, inputs: "Dataset") -> list[dict[str, Any]]:
        """The third field of each row."""
        return values_of(inputs, "table")


def _there(values: Mapping[str, Any]) -> list[bool]:
    return [value is not None for value in values.values()]
