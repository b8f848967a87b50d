"""Open rows that have no labels, as inputs of the same kind as those that have."""

import os
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
from hf_transfer.tasks.inputs.input import Input
from hf_transfer.tasks.targets.target import Target
from hf_transfer.tasks.task import Task


def open_unlabelled(config: RunConfig, task: type[Task], target: Target) -> LabelledData:
    """Open what `config.dataset` names as inputs alone; no label is looked for.

    Besides what `open_dataset` takes, it may be a folder of files in any order, or a .txt file with a text a
    line.

    Args:
        config: Of which the dataset, its split and its columns are used.
        task: What the rows are for.
        target: Labels of such rows; each gets what stands in for one of them.

    Raises:
        DataError: If the data cannot be found, read, or used as it is.
    """
    path = Path(config.dataset).expanduser()
    if holds_lines(path, task.input):
        origin, split = Origin(path.name, folder=path.parent), "train"
        dataset, notes = _lines(path, task.input)
    else:
        origin = find_origin(config, task.input)
        split = origin.find_split(config.split)
        dataset, notes = _loaded(origin, split, config, task.input)
    data = label_rows(dataset, config, task, origin=origin, target=target)
    return replace(data, split=split, notes=(*notes, *data.notes))


def holds_lines(path: Path, input: Input) -> bool:
    """Whether a path is a file of inputs that are written out, one a line."""
    return path.suffix.lower() == ".txt" and path.is_file() and not input.suffixes


def _lines(path: Path, input: Input) -> Loaded:
    values = [input.from_text(line) for line in text_lines(read_text(path))]
    column = input.columns[0]
    return Dataset.from_list([one if isinstance(one, Mapping) else {column: one} for one in values]), ()


def _loaded(origin: Origin, split: str, config: RunConfig, input: Input) -> Loaded:
    """The rows as they are stored; of a folder without classes its files, however they lie in it."""
    try:
        return origin.splits[split]()
    except DataError:
        path = Path(os.path.abspath(Path(config.dataset).expanduser()))  # noqa: PTH100  (as origins have it)
        paths = inputs_below(path, input) if path.is_dir() else []
        if not paths:
            raise
    refuse_links(paths, path, outside=config.allow_outside)
    return input_rows(paths, input, {}), ()
