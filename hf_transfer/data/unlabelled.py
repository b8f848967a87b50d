"""Open rows that have no labels, as inputs of the same kind as those that have."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from datasets import Dataset

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.data_files import Loaded
from hf_transfer.data.input_folder import input_rows, inputs_below
from hf_transfer.data.labelled import LabelledData
from hf_transfer.data.origins import Origin, find_origin
from hf_transfer.data.rows import label_rows
from hf_transfer.data.text_files import read_text, text_lines
from hf_transfer.errors import DataError
from hf_transfer.machine.paths import refuse_links


def open_unlabelled(config: RunConfig, like: LabelledData) -> LabelledData:
    """Open what `config.dataset` names as inputs alone; no label is looked for.

    Besides what `open_dataset` takes, it may be a folder of files in any order, or a .txt file with a text a
    line.

    Args:
        config: Of which the dataset, its split and its columns are used.
        like: Labelled rows of the same kind; each new row gets what stands in for a label of theirs.

    Raises:
        DataError: If the data cannot be found, read, or used as it is.
    """
    path = Path(config.dataset).expanduser()
    if holds_lines(path, like):
        origin, split = Origin(path.name, folder=path.parent), "train"
        dataset, notes = _lines(path, like)
    else:
        origin = find_origin(config, like.input)
        split = origin.find_split(config.split)
        dataset, notes = _loaded(origin, split, config, like)
    data = label_rows(dataset, config, like.task, origin=origin, target=like.target)
    return replace(data, split=split, notes=(*notes, *data.notes))


def holds_lines(path: Path, like: LabelledData) -> bool:
    """Whether a path is a file of inputs that are written out, one a line."""
    return path.suffix.lower() == ".txt" and path.is_file() and not like.input.suffixes


def _lines(path: Path, like: LabelledData) -> Loaded:
    values = [like.input.from_text(line) for line in text_lines(read_text(path))]
    column = like.input.columns[0]
    return Dataset.from_list([one if isinstance(one, Mapping) else {column: one} for one in values]), ()


def _loaded(origin: Origin, split: str, config: RunConfig, like: LabelledData) -> Loaded:
    """The rows as they are stored; of a folder without classes its files, however they lie in it."""
    try:
        return origin.splits[split]()
    except DataError:
        path = Path(config.dataset).expanduser()
        paths = inputs_below(path, like.input) if path.is_dir() else []
        if not paths:
            raise
    refuse_links(paths, path, outside=config.allow_outside)
    return input_rows(paths, like.input, {}), ()
