"""Read folders of pictures or sounds: one folder a class, or a metadata file."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Value

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.data.data_files import SPLITS, Loaded, read_file
from hf_transfer.errors import DataError
from hf_transfer.machine.paths import local_path, refuse_links, utf_8
from hf_transfer.machine.wording import count
from hf_transfer.tasks.inputs.input import Input
from hf_transfer.tasks.inputs.scans import file_format

_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


def is_class_folder(folder: Path, input: Input) -> bool:
    """Whether a folder, or a split in it, has class folders with such inputs or a metadata file."""
    places = [folder, *(place for place in _folders(folder) if place.name.lower() in SPLITS)]
    return any(_metadata(place) or len(_class_folders(place, input)) > 1 for place in places)


def holds_inputs(folder: Path, input: Input) -> bool:
    """Whether a folder contains such inputs, up to three levels deep."""
    places = [folder]
    for _ in range(3):
        if any(next(_inputs(place, input), None) for place in places):
            return True
        places = [deeper for place in places for deeper in _folders(place)]
    return any(next(_inputs(place, input), None) for place in places)


def inputs_below(folder: Path, input: Input) -> list[Path]:
    """All such inputs in a folder and its subfolders, in order, without files of systems and editors."""
    return sorted(
        path
        for path in folder.rglob("*")
        if not path.is_dir() and not _hidden(path, folder) and input.is_file(path)
    )


def folder_splits(folder: Path, input: Input, *, outside: bool = False) -> dict[str, Callable[[], Loaded]]:
    """Find the splits of a folder of inputs; each is read when called.

    Two layouts are read: `CLASS/file` and `SPLIT/CLASS/file`; in place of class folders there may
    be a metadata.csv or metadata.jsonl with the columns file_name and label.

    Args:
        folder: Where the inputs are.
        input: What they are.
        outside: Whether links and names may lead out of it.

    Raises:
        DataError: If two folders mean the same split, e.g. val and dev.
    """
    inner = _folders(folder)
    named = [place for place in inner if place.name.lower() in SPLITS]
    if not inner or len(named) < len(inner) or _metadata(folder) or not any(map(_is_split, named)):
        return {"train": partial(_read_split, folder, folder, input, outside=outside)}
    splits: dict[str, Callable[[], Loaded]] = {}
    for place in named:
        split = SPLITS[place.name.lower()]
        if split in splits:
            raise DataError(
                f"Two folders of {folder.name} are the split {split!r}, one is {place.name!r}. Merge them."
            )
        splits[split] = partial(_read_split, place, folder, input, outside=outside)
    return splits


def input_rows(paths: Sequence[Path], input: Input, columns: Mapping[str, Any]) -> Dataset:
    """Make rows of inputs that stay on disk until they are read, with other columns."""
    name = input.columns[0]
    features = Features({name: {"bytes": Value("binary"), "path": Value("string")}})
    rows = Dataset.from_dict({name: [{"bytes": None, "path": utf_8(path)} for path in paths]}, features)
    for name, values in columns.items():
        rows = rows.add_column(name, values, feature=Value("string"))
    return rows


def _read_split(folder: Path, root: Path, input: Input, *, outside: bool) -> Loaded:
    metadata = _metadata(folder)
    if metadata:
        return _read_metadata(metadata[0], root, input, outside=outside)
    return _read_classes(folder, root, input, outside=outside)


def _read_classes(folder: Path, root: Path, input: Input, *, outside: bool) -> Loaded:
    classes = _folders(folder)
    _refuse_layout(folder, classes, input)
    paths, labels, ignored = [], [], list(_files(folder))
    for place in classes:
        found = list(_inputs(place, input))
        if not found:
            raise DataError(
                f"The class folder {place.name!r} of {folder.name} holds no {input.noun} "
                f"({', '.join(sorted(input.suffixes))}). Fill it or remove it; a class is never dropped in "
                "silence."
            )
        paths += found
        labels += [place.name] * len(found)
        ignored += [path for path in _files(place) if not input.is_file(path)]
    refuse_links(paths, root, outside=outside)
    return input_rows(paths, input, {"label": labels}), _left_out(
        ignored, f"that are no {input.nouns} of a class"
    )


def _refuse_layout(folder: Path, classes: list[Path], input: Input) -> None:
    if not classes:
        raise DataError(
            f"{folder.name} holds {count(len(list(_inputs(folder, input))), input.noun)} but no class "
            f"folders. Put the {input.nouns} of each class in a folder of its name, or add a metadata.csv "
            "with file_name and label."
        )
    as_splits = sorted(place.name for place in classes if place.name.lower() in SPLITS)
    if len(as_splits) == len(classes):
        raise DataError(
            f"The classes of {folder.name} would be {as_splits}, which are names of splits. Each split "
            f"needs its own class folders, as in train/CLASS/{input.noun}."
        )
    if len(classes) == 1:
        raise DataError(
            f"{folder.name} has one class folder, {classes[0].name!r}; a classifier needs two classes or "
            "more. If a file names the class of each, give that file as --dataset."
        )
    for place in classes:
        deeper = _folders(place)
        if deeper:
            raise DataError(
                f"{place.name!r} in {folder.name} holds folders ({', '.join(d.name for d in deeper[:5])}), "
                f"so which level names the class is not clear. Give {folder.name}/{place.name} as "
                f"--dataset, or move the {input.nouns} into CLASS/ or SPLIT/CLASS/."
            )


def _read_metadata(file: Path, root: Path, input: Input, *, outside: bool) -> Loaded:
    refuse_links([file], root, outside=outside)
    table, notes = read_file(file)
    if "file_name" not in table.column_names:
        raise DataError(f"{file.name} has no column 'file_name'; it has {sorted(table.column_names)}.")
    paths = [local_path(name, file.parent, outside=outside) for name in table["file_name"]]
    refuse_links(paths, root, outside=outside)
    if input.columns[0] in table.column_names:
        table = table.remove_columns(input.columns[0])
    named = set(paths)
    unlisted = [path for path in inputs_below(file.parent, input) if path not in named]
    rows = input_rows(paths, input, {})
    for name in table.column_names:
        rows = rows.add_column(name, table[name][:], feature=table.features[name])
    return rows, (*notes, *_left_out(unlisted, f"not named in {file.name}"))


def _left_out(paths: list[Path], why: str) -> tuple[str, ...]:
    if not paths:
        return ()
    named = [path for path in paths if file_format(path) != "DICOM"]  # whose names may be those of patients
    names = ", ".join(repr(path.name) for path in named[:3])
    more = " …" if named[3:] else ""
    return (f"{count(len(paths), 'file')} {why} left out{f': {names}{more}' if named else ''}.",)


def _class_folders(folder: Path, input: Input) -> list[Path]:
    named = [place for place in _folders(folder) if place.name.lower() not in SPLITS]
    return [place for place in named if next(_inputs(place, input), None)]


def _is_split(place: Path) -> bool:
    return bool(_metadata(place) or _folders(place))


def _metadata(folder: Path) -> list[Path]:
    return [folder / name for name in _METADATA if (folder / name).is_file()]


def _folders(folder: Path) -> list[Path]:
    return [place for place in _sorted(folder) if place.is_dir()]


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in _sorted(folder) if not path.is_dir())


def _inputs(folder: Path, input: Input) -> Iterator[Path]:
    """Files of inputs, by suffix or first bytes; broken links count, so that they are reported."""
    return (path for path in _files(folder) if input.is_file(path))


def _sorted(folder: Path) -> list[Path]:
    # By name, as the order of paths themselves depends on the operating system.
    return sorted(
        (path for path in folder.iterdir() if not _hidden(path, folder)), key=lambda path: path.name
    )


def _hidden(path: Path, root: Path) -> bool:
    """Whether a system or an editor made the path: .DS_Store, .ipynb_checkpoints, __MACOSX."""
    return any(part.startswith((".", "__")) for part in path.relative_to(root).parts)
