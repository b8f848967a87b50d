"""Rows of scans as rows of their slices, with what DICOM files say of patient and machine as columns."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Array2D, Array3D, Dataset, Value, concatenate_datasets

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import DataError
from hf_transfer.machine.mapped import as_dataset
from hf_transfer.machine.progress import progress_bar
from hf_transfer.machine.wording import count, some
from hf_transfer.tasks.inputs.input import Opened
from hf_transfer.tasks.inputs.picture_column import as_pictures, read_pictures
from hf_transfer.tasks.inputs.pictures import MAX_PIXELS, encode_pixels, picture_bytes, rescaled
from hf_transfer.tasks.inputs.scans import HEAD, Scan, file_format, read_scan, scan_format
from hf_transfer.tasks.inputs.text_column import LIST_TYPES
from hf_transfer.tasks.inputs.windows import Window, parse_window

GROUPS = ("PatientID", "StudyInstanceUID", "volume")  # by which rows stay together, the first that tells them
SITES = ("InstitutionName", "Manufacturer", "StationName")
_KEPT = (*GROUPS, *SITES)
_SAYS_MUCH = 4  # letters of a patient's id that stand in another text by no accident


def open_scans(
    rows: Dataset, column: str, *, folder: Path | None, outside: bool, config: RunConfig
) -> Opened:
    """Replace each row of a DICOM or NIfTI file by a row for each of its slices; others stay.

    A slice's id is that of its row, `#`, and its number in the file. Slices of one value are left out. The
    names of DICOM files are forgotten, as they may name a patient.

    Args:
        rows: With files, paths or encoded bytes in `column`.
        column: Of pictures.
        folder: Folder that paths are relative to, and must stay in; None takes them as they are.
        outside: Whether they may leave it.
        config: Of which `window` and the names of columns are used.

    Raises:
        DataError: If ids of rows hold a patient's.
        ConfigError: If the package that reads such a file is not installed.
    """
    window = parse_window(config.window)
    unchanged = Opened(rows, config.id_column, config.group_by, config.site_column)
    if isinstance(rows.features[column], (Array2D, Array3D, *LIST_TYPES)):
        return unchanged
    pictures = read_pictures(rows, column, folder, outside=outside)
    formats = [_format(picture) for picture in _heads(pictures)]
    if not any(formats) and window is None:
        return unchanged
    ids = rows[config.id_column][:] if config.id_column in rows.column_names else range(len(rows))
    slices = _Slices(pictures, formats, [str(one) for one in ids], window)
    inputs = as_pictures(slices.all()).rename_columns({"input": column})
    if not any(formats):
        others = rows.remove_columns([column])
        return replace(
            unchanged, rows=concatenate_datasets([inputs, others], axis=1) if len(others) else inputs
        )
    _refuse_names(slices, config)
    found = inputs
    if others := [name for name in rows.column_names if name != column]:
        repeated = rows.select_columns(others).with_format("arrow")[slices.sources]
        found = concatenate_datasets([inputs, as_dataset(repeated)], axis=1)
    for name in _KEPT:
        if name not in found.column_names and (values := slices.column(name)):
            found = found.add_column(name, values, feature=Value("string"))
    return _opened(found, slices, config)


def _opened(rows: Dataset, slices: "_Slices", config: RunConfig) -> Opened:
    """The rows with the columns that identify, group and place them."""
    id_column = config.id_column
    if any(number is not None for number in slices.numbers):
        id_column = id_column or "slice"
        if id_column in rows.column_names:
            rows = rows.remove_columns([id_column])
        rows = rows.add_column(id_column, slices.names, feature=Value("string"))
    group, note = _group(rows, slices, config)
    sites = [name for name in SITES if name in rows.column_names and len(set(rows[name])) > 1]
    site = config.site_column or next(iter(sites), None)
    notes = (*slices.told(), *note)
    return Opened(rows, id_column, group, site, notes, slices.sources, slices.numbers, note)


def _group(rows: Dataset, slices: "_Slices", config: RunConfig) -> tuple[str | None, tuple[str, ...]]:
    """The column by which rows stay together, and a sentence on it where it was found."""
    if config.group_by or config.time_by:
        return config.group_by, ()
    there = [name for name in GROUPS if name in rows.column_names]
    telling = [name for name in there if len(set(rows[name])) > 1]
    if not telling:
        return None, ()
    alike = there[: there.index(telling[0])]
    why = f" {' and '.join(alike)} is the same in all files." if alike else ""
    number = len(set(rows[telling[0]]))
    return telling[0], (
        f"Rows of one {telling[0]} stay in one fold ({number:,} of them); --group_by takes another "
        f"column.{why}",
    )


@dataclass(eq=False)
class _Slices:
    """The slices of all rows, one after the other, and what is noted of each while they are read.

    Attributes:
        pictures: A file each.
        formats: Of each file; None for a plain picture.
        ids: Of each file's row.
        window: What is black and white in all of them, if it was given.
        sources: Row that each slice came from.
        numbers: Of each slice in its file; None where a file has one alone.
        about: What its file says.
    """

    pictures: Dataset
    formats: list[str | None]
    ids: list[str]
    window: Window | str | None
    sources: list[int] = field(default_factory=list)
    numbers: list[int | None] = field(default_factory=list)
    about: list[Mapping[str, str]] = field(default_factory=list)
    windowed: Counter[str] = field(default_factory=Counter)
    modalities: Counter[str] = field(default_factory=Counter)
    empty: int = 0
    burned_in: int = 0

    def all(self) -> Iterator[dict[str, Any] | None]:
        """Each slice as encoded bytes; a file that can't be read stays as it is, for the scan to tell of."""
        with progress_bar("Reading scans", total=len(self.formats), unit="file") as bar:
            for row, picture in enumerate(self.pictures["input"]):
                bar.update(1)
                if self.formats[row] is None:
                    yield self._note(row, None, {}, rescaled(picture, self.window))
                    continue
                try:
                    scan = read_scan(picture_bytes(picture), most_pixels=MAX_PIXELS, window=self.window)
                except DataError:
                    yield self._note(row, None, {}, picture)
                else:
                    yield from self._of(row, scan, picture["path"])

    def _of(self, row: int, scan: Scan, path: str | None) -> Iterator[dict[str, Any] | None]:
        several = len(scan.slices) > 1
        self.windowed[scan.windowed] += 1
        self.modalities[scan.about.get("Modality", "")] += 1
        self.burned_in += scan.about.get("BurnedInAnnotation") == "YES"
        named = Path(path).name if path and self.formats[row] == "NIfTI" else None
        for number, pixels in enumerate(scan.slices):
            if several and pixels.min() == pixels.max():
                self.empty += 1
                continue
            name = f"{named}#{number}" if named and several else named
            picture = {"bytes": encode_pixels(pixels), "path": name}
            yield self._note(row, number if several else None, scan.about, picture)

    def _note(self, row: int, number: int | None, about: Mapping[str, str], picture: Any) -> Any:
        self.sources.append(row)
        self.numbers.append(number)
        self.about.append(about)
        return picture

    @property
    def names(self) -> list[str]:
        """Id of each slice."""
        pairs = zip(self.sources, self.numbers, strict=True)
        return [self.ids[row] if number is None else f"{self.ids[row]}#{number}" for row, number in pairs]

    def column(self, name: str) -> list[str] | None:
        """What each slice's file says by that name, its own row where it says nothing; None if none does."""
        if name == "volume":
            return [self.ids[row] for row in self.sources]
        if not any(name in about for about in self.about):
            return None
        unknown = "unknown" if name in SITES else "row {}"
        pairs = zip(self.sources, self.about, strict=True)
        return [about.get(name) or unknown.format(self.ids[row]) for row, about in pairs]

    def told(self) -> tuple[str, ...]:
        """What was found, a sentence each, without anybody's name."""
        kinds = Counter(kind for kind in self.formats if kind)
        found = [count(number, f"{kind} file") for kind, number in kinds.items()]
        known = ", ".join(sorted(name for name in self.modalities if name))
        found += [f"modality {known}"] if known else []
        patients = self.column("PatientID")
        found += [count(len(set(patients)), "patient")] if patients else []
        found.append(f"{count(len(self.sources), 'row')}, a slice each")
        found += [f"{count(self.empty, 'slice')} of one value left out"] if self.empty else []
        by = "; ".join(f"{_BY[how]}: {count(number, 'file')}" for how, number in self.windowed.items())
        notes = [f"{', '.join(found)}.", *([f"{by}."] if by else [])]
        if "NIfTI" in kinds:
            notes.append("Slices of NIfTI files are along their third axis, and volume by volume.")
        if self.burned_in:
            notes.append(
                f"BurnedInAnnotation of {count(self.burned_in, 'file')} says that the pixels hold text: "
                "names may be readable in pictures of the report."
            )
        return tuple(notes)


_BY = {
    "file": "Black and white by the window in the file",
    "percentiles": "Black and white by the 0.5th and 99.5th percentile of the file",
    "given": "Black and white as given by window",
    "none": "Colours as they are",
}


def _heads(pictures: Dataset) -> Iterator[tuple[bytes | None, str]]:
    """The first bytes of each picture that has its bytes beside it, and its path."""
    for batch in pictures.with_format("arrow").iter(1000):
        table = pa.chunked_array(batch["input"]).combine_chunks()
        for data, path in zip(table.field("bytes"), table.field("path"), strict=True):
            yield (data.as_buffer()[:HEAD].to_pybytes() if data.is_valid else None), path.as_py() or ""


def _format(picture: tuple[bytes | None, str]) -> str | None:
    data, path = picture
    return scan_format(data, path) if data is not None else file_format(Path(path))


def _refuse_names(slices: _Slices, config: RunConfig) -> None:
    """Stop where ids, which are published, hold those of patients."""
    pairs = zip(slices.sources, slices.about, strict=True)
    wrong = [row for row, about in pairs if _tells(slices.ids[row], about.get("PatientID", ""))]
    if wrong and config.id_column:
        raise DataError(
            f"{count(len(set(wrong)), 'id')} in column {config.id_column!r} hold the PatientID of the file: "
            f"rows {some(sorted(set(wrong)))}. Ids are published with the folds; leave --id_column out."
        )


def _tells(text: str, patient: str) -> bool:
    return bool(patient) and (text == patient or (len(patient) >= _SAYS_MUCH and patient in text))
