"""Read image folders: one folder a class, or a metadata file."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Image, Value

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.data.data_files import SPLITS, Loaded, read_file
from hf_transfer.errors import DataError
from hf_transfer.machine.paths import local_path, refuse_links
from hf_transfer.machine.wording import count
from hf_transfer.tasks.inputs.image import Image as Pictures
from hf_transfer.tasks.inputs.scans import file_format

SUFFIXES = Pictures.suffixes
COLUMN = Pictures.columns[0]

_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


def is_image_folder(folder: Path) -> bool:
    """Whether a folder, or a split in it, has class folders with pictures or a metadata file."""
    places = [folder, *(place for place in _folders(folder) if place.name.lower() in SPLITS)]
    return any(_metadata(place) or len(_class_folders(place)) > 1 for place in places)


def holds_pictures(folder: Path) -> bool:
    """Whether a folder contains pictures, up to three levels deep."""
    places = [folder]
    for _ in range(3):
        if any(next(_pictures(place), None) for place in places):
            return True
        places = [deeper for place in places for deeper in _folders(place)]
    return any(next(_pictures(place), None) for place in places)


def pictures_below(folder: Path) -> list[Path]:
    """All pictures in a folder and its subfolders, in order, without files of systems and editors."""
    return sorted(
        path
        for path in folder.rglob("*")
        if not path.is_dir() and not _hidden(path, folder) and _is_picture(path)
    )


def image_splits(folder: Path, *, outside: bool = False) -> dict[str, Callable[[], Loaded]]:
    """Find the splits of an image folder; each is read when called.

    Two layouts are read: `CLASS/picture` and `SPLIT/CLASS/picture`; in place of class folders there may
    be a metadata.csv or metadata.jsonl with the columns file_name and label.

    Args:
        folder: Where the pictures are.
        outside: Whether links and names may lead out of it.

    Raises:
        DataError: If two folders mean the same split, e.g. val and dev.
    """
    inner = _folders(folder)
    named = [place for place in inner if place.name.lower() in SPLITS]
    if not inner or len(named) < len(inner) or _metadata(folder) or not any(map(_is_split, named)):
        return {"train": partial(_read_split, folder, folder, outside=outside)}
    splits: dict[str, Callable[[], Loaded]] = {}
    for place in named:
        split = SPLITS[place.name.lower()]
        if split in splits:
            raise DataError(
                f"Two folders of {folder.name} are the split {split!r}, one is {place.name!r}. Merge them."
            )
        splits[split] = partial(_read_split, place, folder, outside=outside)
    return splits


def picture_rows(paths: Sequence[Path], columns: Mapping[str, Any]) -> Dataset:
    """Make rows of pictures that stay on disk until they are read, with other columns."""
    features = Features({COLUMN: Image(decode=False)})
    pictures = Dataset.from_dict({COLUMN: [{"bytes": None, "path": str(path)} for path in paths]}, features)
    for name, values in columns.items():
        pictures = pictures.add_column(name, values, feature=Value("string"))
    return pictures


def _read_split(folder: Path, root: Path, *, outside: bool) -> Loaded:
    metadata = _metadata(folder)
    if metadata:
        return _read_metadata(metadata[0], root, outside=outside)
    return _read_classes(folder, root, outside=outside)


def _read_classes(folder: Path, root: Path, *, outside: bool) -> Loaded:
    classes = _folders(folder)
    _refuse_layout(folder, classes)
    paths, labels, ignored = [], [], list(_files(folder))
    for place in classes:
        found = list(_pictures(place))
        if not found:
            raise DataError(
                f"The class folder {place.name!r} of {folder.name} holds no picture "
                f"({', '.join(sorted(SUFFIXES))}). Fill it or remove it; a class is never dropped in silence."
            )
        paths += found
        labels += [place.name] * len(found)
        ignored += [path for path in _files(place) if not _is_picture(path)]
    refuse_links(paths, root, outside=outside)
    return picture_rows(paths, {"label": labels}), _left_out(ignored)


def _refuse_layout(folder: Path, classes: list[Path]) -> None:
    if not classes:
        raise DataError(
            f"{folder.name} holds {count(len(list(_pictures(folder))), 'picture')} but no class folders. "
            "Put the pictures of each class in a folder of its name, or add a metadata.csv with file_name "
            "and label."
        )
    as_splits = sorted(place.name for place in classes if place.name.lower() in SPLITS)
    if len(as_splits) == len(classes):
        raise DataError(
            f"The classes of {folder.name} would be {as_splits}, which are names of splits. Each split "
            "needs its own class folders, as in train/CLASS/picture.jpg."
        )
    if len(classes) == 1:
        raise DataError(
            f"{folder.name} has one class folder, {classes[0].name!r}; a classifier needs two classes or "
            "more. If a file names the class of each picture, give that file as --dataset."
        )
    for place in classes:
        deeper = _folders(place)
        if deeper:
            raise DataError(
                f"{place.name!r} in {folder.name} holds folders ({', '.join(d.name for d in deeper[:5])}), "
                f"so which level names the class is not clear. Give {folder.name}/{place.name} as "
                "--dataset, or move the pictures into CLASS/ or SPLIT/CLASS/."
            )


def _read_metadata(file: Path, root: Path, *, outside: bool) -> Loaded:
    refuse_links([file], root, outside=outside)
    table, notes = read_file(file)
    if "file_name" not in table.column_names:
        raise DataError(f"{file.name} has no column 'file_name'; it has {sorted(table.column_names)}.")
    paths = [local_path(name, file.parent, outside=outside) for name in table["file_name"]]
    refuse_links(paths, root, outside=outside)
    if COLUMN in table.column_names:
        table = table.remove_columns(COLUMN)
    named = set(paths)
    unlisted = [path for path in pictures_below(file.parent) if path not in named]
    rows = picture_rows(paths, {})
    for name in table.column_names:
        rows = rows.add_column(name, table[name][:], feature=table.features[name])
    return rows, (*notes, *_left_out(unlisted, f"not named in {file.name}"))


def _left_out(paths: list[Path], why: str = "that are no pictures of a class") -> tuple[str, ...]:
    if not paths:
        return ()
    named = [path for path in paths if file_format(path) != "DICOM"]  # whose names may be those of patients
    names = ", ".join(repr(path.name) for path in named[:3])
    more = " …" if named[3:] else ""
    return (f"{count(len(paths), 'file')} {why} left out{f': {names}{more}' if named else ''}.",)


def _class_folders(folder: Path) -> list[Path]:
    named = [place for place in _folders(folder) if place.name.lower() not in SPLITS]
    return [place for place in named if next(_pictures(place), None)]


def _is_split(place: Path) -> bool:
    return bool(_metadata(place) or _folders(place))


def _metadata(folder: Path) -> list[Path]:
    return [folder / name for name in _METADATA if (folder / name).is_file()]


def _folders(folder: Path) -> list[Path]:
    return [place for place in _sorted(folder) if place.is_dir()]


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in _sorted(folder) if not path.is_dir())


def _pictures(folder: Path) -> Iterator[Path]:
    """Picture files by suffix, scans by their first bytes; broken links count, so that they are reported."""
    return (path for path in _files(folder) if _is_picture(path))


def _is_picture(path: Path) -> bool:
    return Pictures().is_file(path)


def _sorted(folder: Path) -> list[Path]:
    # By name, as the order of paths themselves depends on the operating system.
    return sorted(
        (path for path in folder.iterdir() if not _hidden(path, folder)), key=lambda path: path.name
    )


def _hidden(path: Path, root: Path) -> bool:
    """Whether a system or an editor made the path: .DS_Store, .ipynb_checkpoints, __MACOSX."""
    return any(part.startswith((".", "__")) for part in path.relative_to(root).parts)
