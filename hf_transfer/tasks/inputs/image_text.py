"""Pictures with a text as inputs: a product and its title, a post and its caption."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError
from hf_transfer.machine.wording import count
from hf_transfer.tasks.inputs.image import Image
from hf_transfer.tasks.inputs.input import BadInput, Input, Likeness, Links, Original, SimpleProbe, Visit
from hf_transfer.tasks.inputs.text import Text, is_visible
from hf_transfer.tasks.inputs.two_columns import APART, in_twos, object_with, two_columns

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import nn

    from hf_transfer.tasks.inputs.pooling import Pooling

_IMAGE, _TEXT = Image(), Text()
_TEXTS = ("text", "caption", "title", "description", "sentence", "name", "headline", "comment", "content")
_AT_ONCE = 64  # rows, as pictures are large


class ImageText(Input):
    """A picture and a text a row, as {"image": {"bytes", "path"}, "text"}; one of the two may be missing."""

    name: ClassVar[str] = "image_text"
    noun: ClassVar[str] = "picture with a text"
    nouns: ClassVar[str] = "pictures with a text"
    columns: ClassVar[tuple[str, ...]] = tuple(
        f"{image},{text}" for text, image in product(_TEXTS, Image.columns)
    )
    settings: ClassVar[tuple[str, ...]] = (
        "augmentation", "cached_views", "max_length", "on_bad_image", "shared_texts",
        "table_columns",
    )  # fmt: skip
    encoded_by: ClassVar[tuple[str, ...]] = ("max_length",)
    empty: ClassVar[str] = "with neither a picture nor a text"
    needs: ClassVar[str] = "One of the two may be missing, not both."
    rows_at_once: ClassVar[int] = Image.rows_at_once
    sample_model: ClassVar[str] = "tiny-clip"
    parts: ClassVar[tuple[str, ...]] = ("picture", "text")
    simple_model: ClassVar[str] = f"{Text.simple_model}, beside {Image.simple_model}"

    def columns_of(self, column: str) -> list[str]:
        """The two, which stand with a comma between them, the picture's first."""
        return two_columns(column, "A picture and its text are", "image,caption")

    def leads_away(self, feature: Any) -> bool:
        """Nothing that can be told by one of the two: texts may be paths or not."""
        return False

    def read(
        self, dataset: "Dataset", column: str, *, folder: Path | None, outside: bool = False
    ) -> "Dataset":
        """A column of pictures, in any way that pictures alone are read, and one of texts."""
        from hf_transfer.tasks.inputs.picture_column import read_pictures
        from hf_transfer.tasks.inputs.text_column import read_texts, side_by_side

        image, text = self.columns_of(column)
        pictures = read_pictures(dataset, image, folder, outside=outside)
        return side_by_side({"image": pictures, "text": read_texts(dataset, text)}, rows_at_once=_AT_ONCE)

    def notes(self, column: str) -> tuple[str, ...]:
        """Which column is which."""
        image, text = map(repr, self.columns_of(column))
        return (f"Pictures are in column {image}, their texts in {text}; --input_column takes others.",)

    def from_words(self, words: Sequence[str]) -> list[str]:
        """A picture with a text of each two words; a word that is both already stands by itself."""
        return in_twos(
            words,
            self.is_whole,
            lambda first: (
                f"The model reads pictures with texts, and {first} has no text. Give a text after "
                'each picture, "" where there is none.'
            ),
        )

    def is_whole(self, word: str) -> bool:
        """Whether a word holds both."""
        return APART in word or _as_object(word) is not None

    def from_text(self, text: str) -> Any:
        """A path and a text with a tab between them, or an object of JSON with "image" and "text"."""
        found = _as_object(text)
        if found is None and text.count(APART) != 1:
            raise DataError(
                f"{text[:60]!r} is no picture with a text. Write a path and a text with a tab between "
                'them, or {"image": "path", "text": "…"}.'
            )
        path, words = (found["image"], found["text"]) if found else text.split(APART)
        return {"image": {"bytes": None, "path": path} if path else None, "text": words}

    def names(self, rows: "Dataset", column: str) -> list[str]:
        """The text of each row."""
        return [text or "" for text in rows[self.columns_of(column)[1]]]

    def links(self, rows: "Dataset") -> Links:
        """The picture."""
        from hf_transfer.machine.digests import bytes_digest
        from hf_transfer.tasks.inputs.pictures import picture_bytes

        values = (value for batch in rows.iter(_AT_ONCE) for value in batch["input"])
        pictures = (picture_of(value) for value in values)
        return Links("picture", [[picture and bytes_digest(picture_bytes(picture)) for picture in pictures]])

    def empty_rows(self, inputs: "Dataset") -> list[int]:
        """Those with neither."""
        return [row for row, there in enumerate(_present(inputs)) if not any(there)]

    def doubts(self, inputs: "Dataset") -> tuple[str, ...]:
        """How many rows have one of the two only, and how such are read."""
        there = [row for row in _present(inputs) if any(row)]
        lacking = {
            noun: sum(not row[place] for row in there) for place, noun in enumerate(("picture", "text"))
        }
        words = [f"{count(number, 'row')} without a {noun}" for noun, number in lacking.items() if number]
        how = "what is missing counts as zeros among the features, and a column of its own says so"
        return (f"{' and '.join(words)}: {how}.",) if words else ()

    def unreadable(self, rows: "Dataset", visit: Visit | None = None) -> list[BadInput]:
        """Pictures that are there and can't be decoded."""
        from dataclasses import replace

        with_picture, pictures = _pictures(rows)
        digests: dict[int, Any] = {}
        found = _IMAGE.unreadable(pictures, digests.__setitem__ if visit else None)
        bad = [replace(one, position=with_picture[one.position]) for one in found]
        if visit:
            left_out = {one.position for one in bad}
            digest_of = {with_picture[place]: digest for place, digest in digests.items()}
            for row, key in enumerate(self.keys([rows], digest_of)):
                if row not in left_out:
                    visit(row, key)
        return bad

    def content(self, value: Any) -> list[str | bytes]:
        """The encoded bytes, and the text."""
        picture = picture_of(value)
        return [*(_IMAGE.content(picture) if picture is not None else ("no picture",)), value["text"] or ""]

    def likeness(self, parts: "Sequence[Dataset]") -> Likeness:
        """A digest of the pixels with the plain text, and groups of pictures that look alike."""
        from datasets import concatenate_datasets

        with_picture, pictures = _pictures(
            concatenate_datasets([part.select_columns("input") for part in parts])
        )
        digests, alike = _IMAGE.likeness([pictures])
        digest_of = dict(zip(with_picture, digests, strict=True))
        place_of = {row: place for place, row in enumerate(with_picture)}

        def groups(firsts: list[int]) -> list[list[int]]:
            seen = [at for at, row in enumerate(firsts) if row in place_of]
            return [[seen[i] for i in group] for group in alike([place_of[firsts[at]] for at in seen])]

        return self.keys(parts, digest_of), groups

    def keys(self, parts: "Sequence[Dataset]", digest_of: Mapping[int, Any]) -> list[Any]:
        """What tells the contents of rows apart, some of which have a digest of their picture."""
        from hf_transfer.tasks.inputs.similarity import plain_text

        texts = [plain_text(text or "") for part in parts for text in _column(part, "text")["input"]]
        return [(digest_of.get(row), text) for row, text in enumerate(texts)]

    def lengths(self, rows: "Dataset") -> dict[str, float] | None:
        """Of the texts, by spaces."""
        return _TEXT.lengths(_column(rows, "text"))

    def excerpt(self, value: Any, length: int) -> str:
        """The end of the picture's path, and the beginning of the text."""
        picture = picture_of(value)
        shown = "no picture" if picture is None else _IMAGE.excerpt(picture, length)
        return f"{shown}: {_TEXT.excerpt(text_of(value), max(2, length - len(shown)))}"

    def original(self, value: Any) -> Original:
        """A thumbnail and the text."""
        from dataclasses import replace

        picture = picture_of(value)
        shown = Original() if picture is None else _IMAGE.original(picture)
        return replace(shown, text=_TEXT.original(text_of(value)).text)

    def pooling(self, model: "nn.Module") -> "Pooling":
        """Of each tower as of its kind; what joins them is one vector already."""
        from hf_transfer.tasks.inputs.pooling import BranchPooling, PicturePooling, TextPooling

        branches: Any = model.branches
        vision = model.get_submodule(branches["picture"])
        return BranchPooling(model, {"picture": PicturePooling(vision), "text": TextPooling(model)})

    @property
    def simple_probe(self) -> SimpleProbe:
        """A linear model of the words, and of colours and the shrunken picture."""
        from hf_transfer.tasks.inputs.simple_models import picture_text_probe

        return picture_text_probe


def picture_of(value: Mapping[str, Any]) -> Any:
    """The picture of an input; None where there is none."""
    picture = value["image"]
    return picture if picture and (picture.get("bytes") or picture.get("path")) else None


def text_of(value: Mapping[str, Any]) -> str:
    """The text of an input; empty where it has no visible character."""
    text = value["text"] or ""
    return text if is_visible(text) else ""


def values_of(rows: "Dataset", field: str) -> list[Any]:
    """One of the fields of each row."""
    return [value for batch in _column(rows, field).iter(_AT_ONCE) for value in batch["input"]]


def _present(inputs: "Dataset") -> list[tuple[bool, bool]]:
    """Whether each row has a picture, and a text."""
    values = (value for batch in inputs.iter(_AT_ONCE) for value in batch["input"])
    return [(picture_of(value) is not None, bool(text_of(value))) for value in values]


def _pictures(rows: "Dataset") -> tuple[list[int], "Dataset"]:
    """Positions of the rows with a picture, and these pictures as the column `input`."""
    positions = [row for row, there in enumerate(_present(rows)) if there[0]]
    return positions, _column(rows.select(positions), "image")


def _column(rows: "Dataset", field: str) -> "Dataset":
    """One of the two as the column `input`."""
    from datasets import Features

    from hf_transfer.machine.mapped import mapped_rows

    schema = Features({"input": rows.features["input"][field]}).arrow_schema
    batches = rows.select_columns(["input"]).with_format("arrow").iter(_AT_ONCE)
    return mapped_rows((_of_field(batch, field, schema) for batch in batches), schema)


def _of_field(table: Any, field: str, schema: Any) -> Any:
    import pyarrow as pa

    values = pa.chunked_array(table["input"]).combine_chunks().field(field)
    return pa.RecordBatch.from_arrays([values.cast(schema.field("input").type)], schema=schema)


def _as_object(text: str) -> dict[str, str] | None:
    """What an object of JSON holds, if the text is one with a path and a text."""
    found = object_with(text, ("image", "text"))
    if found is None or not all(isinstance(one, str | None) for one in found.values()):
        return None
    return {key: value or "" for key, value in found.items()}
