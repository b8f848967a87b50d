"""Find where a dataset comes from: the package, a folder, a file, or the Hub."""

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import datasets
import huggingface_hub.errors
import pyarrow as pa
from datasets import Dataset, DatasetDict, load_dataset
from datasets.exceptions import DatasetNotFoundError, DatasetsError

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.config.run_config import RunConfig
from hf_transfer.data import builtin
from hf_transfer.data.data_files import (
    LISTED_SUFFIXES,
    SPLITS,
    SUFFIXES,
    Loaded,
    is_data_file,
    read_shards,
    split_files,
)
from hf_transfer.data.input_folder import folder_splits, holds_inputs, is_class_folder
from hf_transfer.data.saved_folder import is_saved, load_saved
from hf_transfer.errors import DataError
from hf_transfer.machine.network import hub_reachable
from hf_transfer.machine.paths import hub_folder, refuse_links, refuse_special
from hf_transfer.machine.wording import inline
from hf_transfer.tasks.inputs.input import Input

# Over the Hub's client: what it raises for a bad name, no network, no access, or broken files.
_HUB_ERRORS = (
    OSError, ValueError, RuntimeError, DatasetsError, pa.ArrowException,
    getattr(huggingface_hub.errors, "HTTPError", OSError),
)  # fmt: skip


@dataclass(frozen=True)
class Origin:
    """Where rows come from.

    Attributes:
        name: What cards call it: a Hub id, builtin:NAME, or a file's or folder's own name.
        config_name: Configuration of a Hub dataset.
        hub: Whether `name` is a Hub id.
        folder: Folder that paths of pictures and sounds are relative to, and must stay in unless `outside`.
        outside: Whether they may leave it.
        splits: What reads each split, when it is asked for.
    """

    name: str = "a dataset in memory"
    config_name: str | None = None
    hub: bool = False
    folder: Path | None = None
    outside: bool = False
    splits: Mapping[str, Callable[[], Loaded]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", inline(self.name))  # it stands in sentences

    def find_split(self, split: str | None) -> str:
        """Give the split's name as it is stored: dev and val may be 'validation'; None is the usual one.

        Raises:
            DataError: If there is no such split, or none is the usual one, listing those that are there.
        """
        if split is None:
            return self._usual_split()
        found = split if split in self.splits else SPLITS.get(split, split)
        if found not in self.splits:
            near = difflib.get_close_matches(split, self.splits, n=1)
            advice = f" Did you mean {near[0]!r}?" if near else ""
            raise DataError(f"{self.name} has no split {split!r}; it has {_listed(self.splits)}.{advice}")
        return found

    def _usual_split(self) -> str:
        if "train" in self.splits or len(self.splits) == 1:
            return "train" if "train" in self.splits else next(iter(self.splits))
        raise DataError(f"{self.name} has no split 'train'; pass --split with one of {_listed(self.splits)}.")


def find_origin(config: RunConfig, input: Input, *others: Input) -> Origin:
    """Find what `config.dataset` means. A local path wins over a Hub id of the same name.

    Args:
        config: Of which the data set is used.
        input: What its rows hold.
        others: What else they may hold, where that is found out later.

    Raises:
        DataError: If it is neither in the package, nor a local path, nor on the Hub.
    """
    name = config.dataset
    if not name:
        raise DataError(
            f"No dataset is given. Pass --dataset, e.g. --dataset {builtin.names(input.name)[0]}."
        )
    if name.startswith(builtin.PREFIX):
        kinds = [one.name for one in (input, *others)]
        return Origin(name, splits={"train": lambda: (builtin.load(name, *kinds), ())})
    path = Path(os.path.abspath(Path(name).expanduser()))  # noqa: PTH100  (resolve() would follow links)
    refuse_special(path)
    if path.is_file():
        return _file(path, outside=config.allow_outside)
    if path.is_dir():
        return _folder(path, input, outside=config.allow_outside)
    if missing_path(name):
        raise DataError(f"No such file or folder: {path}. {_offline_advice(input)}")
    return _hub(name, config.dataset_config, input, outside=config.allow_outside)


def _file(path: Path, *, outside: bool) -> Origin:
    if not is_data_file(path):
        raise DataError(
            f"{path.name} is not of a format that is read; allowed are {LISTED_SUFFIXES}, a "
            "folder of them, a folder of pictures or sounds, or a save_to_disk folder."
        )
    splits = {"train": partial(read_shards, [path])}
    return Origin(path.name, folder=path.parent, outside=outside, splits=splits)


def _folder(path: Path, input: Input, *, outside: bool) -> Origin:
    if is_saved(path):
        splits = _splits(load_saved(path, outside=outside))
        return Origin(path.name, folder=path, outside=outside, splits=splits)
    if input.suffixes and is_class_folder(path, input):
        return _inputs(path, input, outside=outside)
    for place in (path, path / "data"):
        files = _data_files(place)
        if files:
            refuse_links(files, path, outside=outside)
            splits = {split: partial(read_shards, group) for split, group in split_files(files).items()}
            return Origin(path.name, folder=place, outside=outside, splits=splits)
    if input.suffixes and holds_inputs(path, input):
        return _inputs(path, input, outside=outside)
    folders = f", nor, for {input.name}, folders of {input.nouns}" if input.suffixes else ""
    raise DataError(
        f"{path} holds no data for {input.name}: neither files ({LISTED_SUFFIXES}), nor a dataset saved by "
        f"save_to_disk{folders}."
    )


def _inputs(path: Path, input: Input, *, outside: bool) -> Origin:
    splits = folder_splits(path, input, outside=outside)
    return Origin(path.name, folder=path, outside=outside, splits=splits)


def _data_files(folder: Path) -> list[Path]:
    """Files of rows; a .txt is one only where it has a word and a tag a line."""
    files = [file for file in folder.glob("*.*") if not file.is_dir() and not file.name.startswith(".")]
    for file in files:
        if file.suffix.lower() in SUFFIXES:
            refuse_special(file)
    files = [file for file in files if file.is_file()]
    known = [file for file in files if file.suffix.lower() in SUFFIXES]
    return known or [file for file in files if file.suffix.lower() == ".txt" and is_data_file(file)]


def _splits(loaded: Dataset | DatasetDict) -> dict[str, Callable[[], Loaded]]:
    parts = loaded if isinstance(loaded, DatasetDict) else {str(loaded.split or "train"): loaded}
    return {str(split): partial(_with_no_notes, part) for split, part in parts.items()}


def _with_no_notes(dataset: Dataset) -> Loaded:
    return dataset, ()


def _hub(name: str, config_name: str | None, input: Input, *, outside: bool) -> Origin:
    cached = Path(datasets.config.HF_DATASETS_CACHE) / name.replace("/", "___")
    if not cached.exists() and not hub_reachable():  # its client would try for half a minute
        raise DataError(
            f"{name!r} is not a local path ({Path(name).absolute()}), and there is no network to ask the "
            f"Hub. {_offline_advice(input)}"
        )
    try:
        # Code of the repository never runs: datasets 5 has no way to ask for it.
        loaded = load_dataset(name, config_name)
    except DatasetNotFoundError as error:
        raise DataError(
            f"{name!r} is not a local path ({Path(name).absolute()}), and the Hub has no such dataset, or "
            f"it is private or gated and needs a login: {_reason(error)}. {_offline_advice(input)}"
        ) from error
    except ConnectionError as error:
        raise DataError(
            f"{name!r} is not a local path ({Path(name).absolute()}), and there is no network to ask the Hub "
            f"({_reason(error)}). {_offline_advice(input)}"
        ) from error
    except _HUB_ERRORS as error:
        raise DataError(f"The Hub dataset {name!r} cannot be loaded: {_reason(error)}") from error
    return Origin(
        name, config_name, hub=True, folder=hub_folder(name), outside=outside, splits=_splits(loaded)
    )


def _offline_advice(input: Input) -> str:
    lines = [
        f"--base_model builtin:{input.sample_model} --dataset {name}" for name in builtin.names(input.name)
    ]
    return f"Works without a network: {' or '.join(lines)}."


def missing_path(name: str) -> Path | None:
    """Where the name of a data set points to, if it is a path and nothing is there."""
    path = Path(os.path.abspath(Path(name).expanduser()))  # noqa: PTH100  (resolve() would follow links)
    return path if _looks_like_a_path(name) and not path.exists() else None


def _looks_like_a_path(name: str) -> bool:
    return (
        name.startswith((".", "/", "~"))
        or name.count("/") > 1
        or "\\" in name
        or Path(name).suffix.lower() in SUFFIXES
    )


def _reason(error: BaseException) -> str:
    """The innermost message: datasets wraps what went wrong in words that hide it."""
    while error.__cause__ is not None and str(error.__cause__):
        error = error.__cause__
    return " ".join(str(error).split()).rstrip(".")


def _listed(splits: Mapping[str, object]) -> str:
    return ", ".join(repr(split) for split in sorted(splits))
