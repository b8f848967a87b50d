"""Decode medical pictures: DICOM files by pydicom, NIfTI volumes by nibabel, as 8-bit slices."""

import gzip
import io
import struct
import warnings
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.machine.paths import special_file
from hf_transfer.tasks.inputs.windows import PERCENTILES, Window, eight_bits, own_window

if TYPE_CHECKING:
    from pydicom import Dataset

PLAIN_PICTURES = frozenset({
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".hif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jxl",
    ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
})  # fmt: skip
HEAD = 352  # bytes from the start of a file by which it is known
TAGS = (
    "PatientID", "StudyInstanceUID", "Modality", "Manufacturer", "InstitutionName", "StationName",
    "BurnedInAnnotation",
)  # fmt: skip

_MOST_VALUES = 2**31  # of a whole volume
# What the two libraries raise on garbage.
_BROKEN = (
    OSError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError,
    NotImplementedError, struct.error, zlib.error, OverflowError, MemoryError,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Scan:
    """One file's slices, (n, h, w) or (n, h, w, 3) of 0 to 255.

    Attributes:
        slices: In the order of the file; of a NIfTI file along its third axis, volume by volume.
        windowed: Whose window they were scaled by: "file", "percentiles", "given", or "none" of colours.
        about: What a DICOM file says of the patient, the study and the machine.
    """

    slices: NDArray[np.uint8]
    windowed: str
    about: Mapping[str, str] = field(default_factory=dict)


def scan_format(head: bytes, name: str = "") -> str | None:
    """`DICOM` or `NIfTI` of a file that is one, by its first bytes, or by its name.

    Args:
        head: At least the first `HEAD` bytes, or all.
        name: Of the file; a DICOM file without the magic bytes is known by its end alone.
    """
    if head[128:132] == b"DICM" or name.lower().endswith((".dcm", ".dicom")):
        return "DICOM"
    plain = _unzipped(head) if head[:2] == b"\x1f\x8b" else head
    return "NIfTI" if plain[344:348] == b"n+1\x00" or plain[4:8] == b"n+2\x00" else None


def file_format(path: Path) -> str | None:
    """`DICOM` or `NIfTI` of a file that is one; a file with the name of a plain picture is not opened."""
    if path.suffix.lower() in PLAIN_PICTURES or special_file(path) or not path.is_file():
        return None
    try:
        with path.open("rb") as stream:
            return scan_format(stream.read(HEAD), path.name)
    except OSError:
        return None


def _unzipped(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(31).decompress(head, HEAD)
    except zlib.error:
        return b""


def read_scan(data: bytes, *, most_pixels: int, window: Window | str | None = None) -> Scan:
    """Decode a file that `scan_format` knows.

    A DICOM file's grey values go through its rescale slope or modality table, then its window or table of
    values of interest, else by their own percentiles; MONOCHROME1, where low is white, is inverted at last.

    Args:
        data: The whole file.
        most_pixels: That a slice may have.
        window: What is black and white in rescaled values, or `percentiles`, whatever the file says.

    Raises:
        DataError: If it is damaged, too large, or of a kind that holds no picture. The message is the reason
            alone.
        ConfigError: If the package that reads it is not installed.
    """
    read, package = _READERS[scan_format(data[:HEAD]) or "DICOM"]
    broken: tuple[type[Exception], ...] = (*_BROKEN, *_own_errors(package))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read(data, most_pixels, window)
    except DataError:
        raise
    except broken as error:
        raise DataError(f"the file is damaged or cut short ({' '.join(str(error).split())})") from error


def _own_errors(package: str) -> tuple[type[Exception], ...]:
    """What a package raises on garbage and nobody else does.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        if package == "pydicom":
            from pydicom.errors import BytesLengthException, InvalidDicomError

            return BytesLengthException, InvalidDicomError
        from nibabel.filebasedimages import ImageFileError
        from nibabel.spatialimages import HeaderDataError
        from nibabel.wrapstruct import WrapStructError

        return ImageFileError, HeaderDataError, WrapStructError
    except ImportError as error:
        raise ConfigError(
            f"This file is read by {package}, which is not installed: pip install 'hf-transfer-kit[medical]'."
        ) from error


def _refuse_large(width: int, height: int, number: int, most_pixels: int) -> None:
    if width * height > most_pixels or width * height * number > _MOST_VALUES:
        raise DataError(
            f"too large ({number} x {width} x {height}); at most {most_pixels:,} pixels a slice and "
            f"{_MOST_VALUES:,} values are read"
        )


def _read_nifti(data: bytes, most_pixels: int, window: Window | str | None) -> Scan:
    from nibabel import Nifti1Image, Nifti2Image

    zipped = data[:2] == b"\x1f\x8b"
    stream = gzip.GzipFile(fileobj=io.BytesIO(data)) if zipped else io.BytesIO(data)
    head = _unzipped(data) if zipped else data
    image = (Nifti2Image if head[4:8] == b"n+2\x00" else Nifti1Image).from_stream(stream)
    shape = (*image.shape, 1, 1, 1)
    _refuse_large(shape[0], shape[1], int(np.prod(shape[2:])), most_pixels)
    values: Any = np.asanyarray(image.dataobj)
    if values.dtype.kind not in "iufV":
        raise DataError(f"its values are of type {values.dtype}; whole and real numbers are read")
    if values.dtype.fields:  # colours, as RGB or RGBA
        colours = np.stack([values[name] for name in "RGB"], axis=-1)
        return Scan(_slices(colours.astype(np.uint8), colours=True), "none")
    return _windowed(_slices(values.astype(np.float64)), window)


def _slices(values: NDArray[Any], *, colours: bool = False) -> NDArray[Any]:
    """Slices of the first two axes, the first to the right and the second upwards, as NIfTI has them."""
    channels = values.shape[-1:] if colours else ()
    places = values.shape[: values.ndim - len(channels)]
    width, height = (*places, 1)[:2]
    # The last axis moves slowest: the slices of one volume follow each other.
    flat = values.reshape(width, height, -1, *channels, order="F")
    return np.moveaxis(flat, 2, 0).swapaxes(1, 2)[:, ::-1]


def _windowed(values: NDArray[Any], window: Window | str | None) -> Scan:
    given = isinstance(window, tuple)
    chosen = window if isinstance(window, tuple) else own_window(values)
    return Scan(eight_bits(values, chosen), "given" if given else "percentiles")


def _read_dicom(data: bytes, most_pixels: int, window: Window | str | None) -> Scan:
    from pydicom import dcmread

    dataset = dcmread(io.BytesIO(data), force=True)
    about = {tag: text for tag in TAGS if (text := str(dataset.get(tag) or "").strip())}
    if "Rows" not in dataset or "Columns" not in dataset:
        raise DataError(f"a DICOM file without a picture (modality {about.get('Modality', 'unknown')})")
    number = int(dataset.get("NumberOfFrames") or 1)
    _refuse_large(int(dataset.Columns), int(dataset.Rows), number, most_pixels)
    pixels = _pixels(dataset)
    frames = pixels if number > 1 else pixels[None]
    if dataset.get("SamplesPerPixel", 1) != 1:
        return Scan(_colours(frames, dataset), "none", about)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        return Scan(_colours(apply_color_lut(frames, dataset)[..., :3], dataset), "none", about)
    return _grey(frames, dataset, window, about)


def _pixels(dataset: "Dataset") -> NDArray[Any]:
    """The stored values, (frames, h, w, …) or (h, w, …); colours as RGB."""
    from pydicom.uid import ImplicitVRLittleEndian

    if "TransferSyntaxUID" not in dataset.file_meta:  # as files without a head are read
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    try:
        pixels: NDArray[Any] = dataset.pixel_array
    except (RuntimeError, NotImplementedError) as error:
        syntax = dataset.file_meta.TransferSyntaxUID
        if syntax.is_compressed and any(words in str(error) for words in ("missing", "does not support")):
            raise DataError(
                f"compressed as {syntax.name}, which needs a decoder: pip install 'pylibjpeg[all]'"
            ) from error
        raise
    return pixels


def _colours(frames: NDArray[Any], dataset: "Dataset") -> NDArray[np.uint8]:
    if frames.dtype == np.uint8:
        return frames
    bits = 8 * frames.dtype.itemsize if "PALETTE" in dataset.PhotometricInterpretation else dataset.BitsStored
    return eight_bits(frames.astype(np.float64), (0.0, 2.0 ** int(bits) - 1))


def _grey(
    frames: NDArray[Any], dataset: "Dataset", window: Window | str | None, about: Mapping[str, str]
) -> Scan:
    from pydicom.pixels.processing import apply_modality_lut

    values = np.empty(frames.shape)
    for frame, stored in enumerate(frames):
        values[frame] = apply_modality_lut(stored, _group(dataset, frame, "PixelValueTransformationSequence"))
    if isinstance(window, tuple):
        found = Scan(eight_bits(values, window), "given", about)
    elif window != PERCENTILES and _has_window(_group(dataset, 0, "FrameVOILUTSequence")):
        shown = [
            _shown(one, _group(dataset, frame, "FrameVOILUTSequence")) for frame, one in enumerate(values)
        ]
        found = Scan(np.stack(shown), "file", about)
    else:
        own = own_window(values[frames != dataset.get("PixelPaddingValue")])
        found = Scan(eight_bits(values, own), "percentiles", about)
    if dataset.PhotometricInterpretation != "MONOCHROME1":
        return found
    return Scan(255 - found.slices, found.windowed, about)


def _group(dataset: "Dataset", frame: int, name: str) -> "Dataset":
    """Where a frame's rescaling or window stands: in its own group, in that of all frames, or at the top."""
    own = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    for groups in (*own[frame : frame + 1], *(dataset.get("SharedFunctionalGroupsSequence") or ())[:1]):
        if groups.get(name):
            return groups[name].value[0]
    return dataset


def _has_window(dataset: "Dataset") -> bool:
    return bool(dataset.get("VOILUTSequence")) or _first(dataset.get("WindowWidth")) is not None


def _first(value: Any) -> float | None:
    """The first of several windows; None where there is none."""
    values = value if isinstance(value, list | tuple) or hasattr(value, "append") else [value]
    return float(values[0]) if len(values) and values[0] not in (None, "") else None


def _shown(values: NDArray[Any], dataset: "Dataset") -> NDArray[np.uint8]:
    """Rescaled values by the file's first window, as part 3 of DICOM, C.11.2 has it, or by its table."""
    centre, width = (_first(dataset.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None:
        from pydicom.pixels.processing import apply_voi

        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        return eight_bits(apply_voi(values.astype(np.int64), dataset), (0.0, 2.0**bits - 1))
    function = dataset.get("VOILUTFunction") or "LINEAR"
    if function == "SIGMOID":
        return eight_bits(1 / (1 + np.exp(-4 * (values - centre) / max(width, 1e-12))), (0.0, 1.0))
    if function == "LINEAR":
        centre, width = centre - 0.5, max(width - 1, 1e-6)
    return eight_bits(values, (centre - width / 2, centre + width / 2))


_READERS: dict[str, tuple[Callable[[bytes, int, Window | str | None], Scan], str]] = {
    "DICOM": (_read_dicom, "pydicom"), "NIfTI": (_read_nifti, "nibabel"),
}  # fmt: skip
