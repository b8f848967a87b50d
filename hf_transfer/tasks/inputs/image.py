"""Pictures as inputs: encoded bytes or paths, decoded when they are used."""

import base64
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError
from hf_transfer.tasks.inputs.input import BadInput, Input, Likeness, Opened, Original, SimpleProbe, Visit
from hf_transfer.tasks.inputs.scans import PLAIN_PICTURES, file_format

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import nn

    from hf_transfer.config.run_config import RunConfig
    from hf_transfer.models.base_model import BaseModel
    from hf_transfer.tasks.inputs.judges import Judge
    from hf_transfer.tasks.inputs.pooling import Pooling

_THUMBNAIL = 320  # pixels of the longer side: twice what it is shown at, for dense screens
_LINES = 256  # of a picture that are digested at one time


class Image(Input):
    """A picture a row, as {"bytes", "path"}."""

    name: ClassVar[str] = "image"
    noun: ClassVar[str] = "picture"
    nouns: ClassVar[str] = "pictures"
    columns: ClassVar[tuple[str, ...]] = (
        "image", "img", "picture", "photo", "pixel_values", "pixels", "image_path", "file_name", "filename",
        "filepath", "path", "file",
    )  # fmt: skip
    settings: ClassVar[tuple[str, ...]] = (
        "augmentation", "cached_views", "image_size", "on_bad_image", "window", "zero_shot",
        "zero_shot_template",
    )  # fmt: skip
    encoded_by: ClassVar[tuple[str, ...]] = ("image_size", "window")
    suffixes: ClassVar[frozenset[str]] = PLAIN_PICTURES | {".dcm", ".dicom", ".nii"}
    marks_uncertain: ClassVar[bool] = True
    rows_at_once: ClassVar[int] = 32  # as pictures are large
    sample_model: ClassVar[str] = "digits-resnet"
    objectives: ClassVar[tuple[str, ...]] = ("masked-pictures", "same-pictures")
    simple_model: ClassVar[str] = "colour histogram and 8 x 8 pixels, linear"

    def is_typed(self, feature: Any) -> bool:
        """Whether it is of the type of pictures."""
        from datasets import Image as Pictures

        return isinstance(feature, Pictures)

    def leads_away(self, feature: Any) -> bool:
        """Whether it holds texts."""
        return getattr(feature, "dtype", None) == "string"

    def is_file(self, path: Path) -> bool:
        """Whether its name ends so, or it is a zipped NIfTI file, or a DICOM file of any name."""
        return super().is_file(path) or bool(file_format(path))

    def opened(
        self, rows: "Dataset", column: str, *, folder: Path | None, outside: bool, config: "RunConfig"
    ) -> Opened:
        """The slices of scans as rows."""
        from hf_transfer.tasks.inputs.volumes import open_scans

        return open_scans(rows, column, folder=folder, outside=outside, config=config)

    def read(
        self, dataset: "Dataset", column: str, *, folder: Path | None, outside: bool = False
    ) -> "Dataset":
        """Pictures, their encoded bytes, paths, or arrays of 0 to 255; none is decoded."""
        from hf_transfer.tasks.inputs.picture_column import read_pictures

        return read_pictures(dataset, column, folder, outside=outside)

    def unreadable(self, rows: "Dataset", visit: Visit | None = None) -> list[BadInput]:
        """Those that can't be decoded."""
        from hf_transfer.tasks.inputs.pictures import scan_pictures

        return scan_pictures(rows, make=_pixel_digest if visit else None, visit=visit)

    def content(self, value: Any) -> list[str | bytes]:
        """The encoded bytes."""
        from hf_transfer.tasks.inputs.pictures import picture_bytes

        return [picture_bytes(value)]

    def likeness(self, parts: "Sequence[Dataset]") -> Likeness:
        """A digest of the pixels, and groups by thumbnails; every picture is decoded for it."""
        import numpy as np

        from hf_transfer.tasks.inputs.pictures import scan_pictures
        from hf_transfer.tasks.inputs.similarity import similar_pictures, thumbnail

        keys: list[Any] = []
        small = []

        def visit(_: int, made: Any) -> None:
            keys.append(made[0])
            small.append(made[1])

        def make(picture: Any) -> Any:
            return _pixel_digest(picture), thumbnail(picture)

        for bad in (bad for part in parts for bad in scan_pictures(part, make=make, visit=visit)):
            raise DataError(
                f"{bad.path or f'The picture at {bad.position}'} has changed since it was read: {bad.reason}."
            )
        return keys, lambda firsts: similar_pictures(np.array(small)[firsts])

    def excerpt(self, value: Any, length: int) -> str:
        """The end of its path."""
        return "/".join(Path(value["path"]).parts[-2:]) if value["path"] else "a picture in memory"

    def original(self, value: Any) -> Original:
        """A thumbnail, with the name of the file; none of a picture that can't be read."""
        from hf_transfer.tasks.inputs.pictures import read_picture

        try:
            image = read_picture(value)
        except DataError:
            return Original()
        image.thumbnail((_THUMBNAIL, _THUMBNAIL))
        stream = io.BytesIO()
        image.save(stream, format="JPEG", quality=82)
        return Original(
            picture=f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}",
            name=Path(value["path"]).name if value.get("path") else None,
        )

    def judge(self, base: "BaseModel", names: Sequence[str], template: str | None, *, each: bool) -> "Judge":
        """CLIP, SigLIP and their kin."""
        from hf_transfer.tasks.inputs.judges import PictureJudge

        return PictureJudge(base, names, template, each=each)

    def pooling(self, model: "nn.Module") -> "Pooling":
        """The mean over places, or the class token and the mean of the patches."""
        from hf_transfer.tasks.inputs.pooling import PicturePooling

        return PicturePooling(model)

    @property
    def simple_probe(self) -> SimpleProbe:
        """A linear model of colours and of the shrunken picture."""
        from hf_transfer.tasks.inputs.simple_models import picture_probe

        return picture_probe


def _pixel_digest(picture: Any) -> bytes:
    """Digest of a picture's size and pixels, without a copy of all of them."""
    digest = hashlib.sha256(f"{picture.size}".encode())
    for top in range(0, picture.height, _LINES):
        digest.update(picture.crop((0, top, picture.width, min(top + _LINES, picture.height))).tobytes())
    return digest.digest()
