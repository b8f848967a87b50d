"""Read pictures safely, and always as upright 8-bit RGB without transparency."""

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from PIL import Image, ImageOps, UnidentifiedImageError

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import DataError
from hf_transfer.machine.allocator import return_freed_memory
from hf_transfer.machine.progress import progress_bar
from hf_transfer.tasks.inputs.encoded import Encoded, encoded_bytes
from hf_transfer.tasks.inputs.input import BadInput
from hf_transfer.tasks.inputs.scans import HEAD, file_format, read_scan, scan_format
from hf_transfer.tasks.inputs.windows import PERCENTILES, SIXTEEN_BITS, Window, eight_bits, own_window

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MAX_PIXELS = 89_478_485  # where Pillow begins to warn of a decompression bomb; 256 MiB of RGB

_EIGHT_BITS = frozenset({"1", "CMYK", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr"})
_HEIC = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_BATCH = 64  # pictures whose encoded bytes are in memory at one time
_LARGE = 1_000_000  # pixels from which on a picture is made small before others are decoded
_HUGE = 8_000_000  # pixels from which on it is worth a millisecond to return their memory
_AT_ONCE = 48_000_000  # pixels of large pictures that are in memory at one time, 4 bytes each
_STRIP = 4_000_000  # pixels that are converted at one time
# What Pillow's parsers raise on garbage; found by feeding them damaged files of each format.
_BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, RuntimeError,
    struct.error, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip

Picture = Encoded


def read_picture(picture: Picture) -> Image.Image:
    """Decode one picture to upright 8-bit RGB; the same pixels wherever the kit reads it.

    The camera's rotation is applied, 16-bit grey is scaled by 1/257, transparent parts show white,
    and of an animation or a scan the first frame is taken.

    Args:
        picture: Encoded bytes, a local path, or a row's input.

    Raises:
        DataError: If it is absent, damaged, of another format, or larger than `MAX_PIXELS`. The
            message is the reason alone, as the caller knows the picture's name.
    """
    data = picture_bytes(picture)
    if scan_format(data[:HEAD], _path_of(picture)):
        return Image.fromarray(read_scan(data, most_pixels=MAX_PIXELS).slices[0]).convert("RGB")
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(_too_large(f"{image.width} x {image.height} pixels"))
            ImageOps.exif_transpose(image, in_place=True)  # which decodes it; else it would be copied
            return _to_rgb(image, image.format)
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(_unknown(data, _path_of(picture))) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(_too_large(str(error))) from error
    except _BROKEN as error:
        raise DataError(f"the file is damaged or cut short ({error})") from error


class _Room:
    """Pixels that several threads may hold at one time."""

    def __init__(self, pixels: int) -> None:
        self._most = self._free = pixels
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Wait until there is room, and hold it."""
        pixels = min(pixels, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()


_room = _Room(_AT_ONCE)


def made_small(picture: Picture, make: Callable[[Image.Image], Any]) -> Any:
    """Decode a picture, and give what is made of it; of large ones, few are in memory at one time.

    Args:
        picture: As `read_picture` takes it.
        make: What to make, which holds no pixels any more.

    Raises:
        DataError: As `read_picture` does.
    """
    pixels = stated_pixels(picture)
    with _room.taken(pixels):
        made = make(read_picture(picture))
        if pixels > _HUGE:
            return_freed_memory()  # before another thread takes as much
        return made


def is_large(picture: Picture) -> bool:
    """Whether a picture takes so much memory that only what is made of it should be kept."""
    return stated_pixels(picture) > _LARGE


def stated_pixels(picture: Picture) -> int:
    """How many pixels a picture says that it has; 0 where that is not to be read."""
    try:
        with Image.open(io.BytesIO(picture_bytes(picture)), formats=_formats()) as image:
            return image.width * image.height
    except (DataError, UnidentifiedImageError, *_BROKEN):
        return 0  # who reads it tells of it


def _path_of(picture: Picture) -> str:
    path = picture.get("path") if isinstance(picture, Mapping) else picture
    return str(path) if isinstance(path, (str, Path)) else ""


def rescaled(picture: Any, window: Window | str | None) -> Any:
    """A row's input in 8 bits, scaled by a window that was given, if it is a 16-bit grey one; else itself."""
    if window is None or picture is None:
        return picture
    try:
        with Image.open(io.BytesIO(picture_bytes(picture)), formats=_formats()) as image:
            if not _is_deep(image) or image.width * image.height > MAX_PIXELS:
                return picture
            ImageOps.exif_transpose(image, in_place=True)
            values = np.asarray(image)
    except (DataError, UnidentifiedImageError, *_BROKEN):
        return picture  # the scan tells of it
    chosen = own_window(values) if window == PERCENTILES else window
    return {"bytes": encode_pixels(eight_bits(values, chosen)), "path": picture["path"]}  # type: ignore[arg-type]


def picture_bytes(picture: Picture) -> bytes:
    """Give the encoded bytes of a picture, as `encoded_bytes` does."""
    return encoded_bytes(picture, "picture")


@cache
def _formats() -> tuple[str, ...]:
    """What is read: also HEIC, where pillow-heif is there."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return FORMATS
    register_heif_opener()
    return (*FORMATS, "HEIF")


def _unknown(data: bytes, path: str) -> str:
    if path.lower().endswith((".nii", ".nii.gz")):
        return (
            "damaged: it is named as a NIfTI volume and does not begin as one; whole ones need nibabel "
            "(pip install 'hf-transfer-kit[medical]')"
        )
    if "HEIF" not in _formats() and data[4:8] == b"ftyp" and data[8:12] in _HEIC:
        return (
            "a HEIC picture, which needs pillow-heif: pip install 'hf-transfer-kit[heic]', or save it as JPEG"
        )
    return (
        f"not a picture of a known format (it starts with {data[:12]!r}); allowed are {', '.join(_formats())}"
    )


def scan_pictures(
    rows: Dataset,
    *,
    make: Callable[[Image.Image], Any] | None = None,
    visit: Callable[[int, Any], None] | None = None,
) -> list[BadInput]:
    """Decode every picture of the `input` column once; give those that cannot be read.

    Args:
        rows: Rows with pictures in `input`.
        make: What to make of each good picture, by several threads at once; the picture itself if not given.
        visit: Called with the position of each good one, in order, and with what was made of it, such as a
            hash. Pictures are not kept for it.
    """
    bad = []
    attempt = partial(_attempt, make=make or (lambda image: image if visit else None))
    bar = progress_bar("Reading pictures", total=len(rows), unit="picture")
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool, bar:
        # Set here, as filters belong to the process and not to a thread. Odd metadata is no fault.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        for start in range(0, len(rows), _BATCH):
            batch = [picture or {} for picture in rows[start : start + _BATCH]["input"]]
            for position, outcome in enumerate(pool.map(attempt, batch), start):
                if isinstance(outcome, DataError):
                    path = batch[position - start].get("path")
                    private = path is not None and file_format(Path(path)) == "DICOM"
                    bad.append(BadInput(position, path, str(outcome), private))
                elif visit is not None:
                    visit(position, outcome)
            bar.update(len(batch))
    return bad


def encode_pixels(pixels: "np.ndarray[Any, Any]") -> bytes:
    """Write an array as an uncompressed PNG; equal pixels give equal bytes on every machine.

    Pillow's own bytes change with the zlib it was built with, and would change a data fingerprint.

    Args:
        pixels: Values 0 to 255; (h, w), (h, w, c) or (c, h, w), with c 1, 3, or 4 for RGBA.

    Raises:
        DataError: If the values are not whole numbers from 0 to 255, or the shape is another.
    """
    pixels = _as_uint8(pixels)
    height, width = pixels.shape[:2]
    colour = {1: 0, 3: 2, 4: 6}[pixels.shape[2]]
    lines = np.pad(pixels.reshape(height, -1), ((0, 0), (1, 0))).tobytes()  # filter 0 opens each line
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", _stored(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))
        for tag, data in chunks
    )


def _stored(data: bytes) -> bytes:
    """A zlib stream of stored blocks, at most 65,535 bytes each."""
    blocks = [data[i : i + 65535] for i in range(0, len(data), 65535)]
    packed = [
        struct.pack("<BHH", i == len(blocks) - 1, len(block), len(block) ^ 0xFFFF) + block
        for i, block in enumerate(blocks)
    ]
    return b"\x78\x01" + b"".join(packed) + struct.pack(">I", zlib.adler32(data))


def _as_uint8(pixels: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    if pixels.dtype.kind not in "ui" or pixels.size == 0:
        raise DataError(
            f"{pixels.size} pixels of type {pixels.dtype}; arrays must hold whole numbers, 0 to 255"
        )
    if pixels.min() < 0 or pixels.max() > 255:
        raise DataError(f"pixels from {pixels.min()} to {pixels.max()}; arrays must hold 0 to 255")
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4) and pixels.shape[0] in (1, 3, 4):
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        raise DataError(f"pixels have the shape {pixels.shape}; (h, w), (h, w, 3) and (3, h, w) are pictures")
    return pixels.astype(np.uint8)


def _to_rgb(image: Image.Image, of_format: str | None) -> Image.Image:
    if _is_deep(image, of_format):
        return _from_16_bits(image)
    if image.mode not in _EIGHT_BITS:
        raise DataError(
            f"pixels of mode {image.mode!r}: which value is white is not known; save it with 8 or 16 bits"
        )
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    lines = max(1, _STRIP // max(1, image.width))
    if image.height <= lines:
        return _on_white(image)
    found = Image.new("RGB", image.size)  # by strips, as a large picture would be there several times
    for top in range(0, image.height, lines):
        box = (0, top, image.width, min(top + lines, image.height))
        found.paste(_on_white(image.crop(box)), box)
    return found


def _on_white(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        # A plain conversion would show whatever colour hides under the transparent parts.
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _is_deep(image: Image.Image, of_format: str | None = None) -> bool:
    """Whether it is grey in 16 bits."""
    return image.mode.startswith("I;16") or (image.mode == "I" and (of_format or image.format) == "PPM")


def _from_16_bits(image: Image.Image) -> Image.Image:
    # Pillow's conversion clips at 255, and nearly all of a 16-bit picture turns white.
    return Image.fromarray(eight_bits(np.asarray(image), SIXTEEN_BITS)).convert("RGB")


def _too_large(what: str) -> str:
    return f"too large ({what}); at most {MAX_PIXELS:,} pixels are read, so shrink it first"


def _attempt(picture: Picture, make: Callable[[Image.Image], Any]) -> Any:
    try:
        return made_small(picture, make)
    except DataError as error:
        return error
