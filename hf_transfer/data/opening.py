"""Open a labelled dataset from any storage; imports a reader only if it is needed."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ColumnError, ConfigError, DataError
from hf_transfer.machine.collection import no_collection

if TYPE_CHECKING:
    from hf_transfer.data.labelled import LabelledData
    from hf_transfer.tasks.task import Task

_LOOKED_AT = 1000  # files by whose names a kind is told


def open_dataset(config: RunConfig, task: "type[Task] | str") -> "LabelledData":
    """Open what `config.dataset` names: a local path, builtin:NAME, or a Hub id, in this order.

    Args:
        config: Of which the dataset, its split and its columns are used.
        task: What the rows are for, or a more particular task of the same Hub task id if the rows are of
            such (`data.task`); or what `--kind` calls the input of just one.

    Raises:
        DataError: If the data cannot be found, read, or used as it is.
        ConfigError: If a setting is given that such inputs have no use for.
    """
    with no_collection():
        from hf_transfer.data.origins import find_origin
        from hf_transfer.data.rows import label_rows
        from hf_transfer.tasks import check_settings, kin, task_of_kind
    tasks = [task_of_kind(task)] if isinstance(task, str) else kin(task)
    check_settings(config, *tasks)
    origin = find_origin(config, *(one.input for one in reversed(tasks)))
    split = origin.find_split(config.split)
    test_split = origin.find_split(config.test_split) if config.test_split else None
    if test_split == split:
        raise DataError(f"split and test_split are both {split!r}; the test rows must be others.")
    dataset, notes = origin.splits[split]()
    test, test_notes = origin.splits[test_split]() if test_split else (None, ())
    fitting = (one for one in tasks[:-1] if one.takes(dataset.features, config.input_column))
    data = label_rows(dataset, config, next(fitting, tasks[-1]), test=test, origin=origin)
    return replace(data, split=split, notes=(*notes, *test_notes, *data.notes))


def find_task(config: RunConfig) -> "type[Task]":
    """Find the kind of input of `config.dataset`, trying the most specific kind first.

    Raises:
        DataError: If they open for none of them, with each one's reason, first of the kind that the names of
            the files tell; that of the kinds alone whose inputs are there, if there are any.
        ConfigError: If a setting is the only reason.
    """
    from hf_transfer.data import builtin
    from hf_transfer.tasks import all_tasks, task_class

    refuse_missing(config.dataset)
    if kind := builtin.kind_of(config.dataset):
        return open_dataset(replace(config, max_rows=20), kind).task
    problems: dict[type[Task], ConfigError | DataError] = {}
    for task in all_tasks():
        if task is not task_class(task.name):
            continue  # it is tried with the usual one of its Hub task id
        try:
            return open_dataset(replace(config, max_rows=20), task).task
        except (ConfigError, DataError) as error:
            problems[task] = error
    raise of_no_kind(problems, config.dataset)


def refuse_missing(dataset: str) -> None:
    """Stop at the path of a data set where nothing is.

    Raises:
        DataError: Saying what may be given.
    """
    from hf_transfer.data import builtin
    from hf_transfer.data.origins import missing_path

    if path := missing_path(dataset):
        raise DataError(
            f"No such file or folder: {path}. Give a file, a folder, a Hub id, or one that is built in: "
            f"{', '.join(builtin.names())}."
        )


def of_no_kind(
    problems: "Mapping[type[Task], ConfigError | DataError]", dataset: str | None
) -> ConfigError | DataError:
    """One error of what each kind of input said: the reason of those whose inputs are there, likeliest first.

    Args:
        problems: By the task that the data were to be opened for.
        dataset: What `config.dataset` names.
    """
    told = sorted(_telling(problems), key=lambda task: _unlikeliness(task, Path(dataset or "")))
    if len({str(problems[task]) for task in told}) == 1:
        return problems[told[0]]
    lines = (f"as {task.input.name}: {problems[task]}" for task in told)
    return DataError("\n".join(["The data set opens as no kind of input.", *lines]))


def _telling(problems: "Mapping[type[Task], Exception]") -> "list[type[Task]]":
    """The tasks whose inputs are there, so that something else stopped them; all where there is none."""

    def lacks_inputs(error: Exception) -> bool:
        return isinstance(error, ColumnError) and error.setting == "input_column"

    return [task for task, error in problems.items() if not lacks_inputs(error)] or list(problems)


def _unlikeliness(task: "type[Task]", path: Path) -> int:
    """How little the names of files speak for a task, from 0."""
    from hf_transfer.data.conll_files import is_conll

    if path.is_file() and is_conll(path):
        return 0 if task.targets[0].per_word else 1
    files = islice(path.rglob("*"), _LOOKED_AT) if path.is_dir() else [path]
    ends = {file.suffix.lower() for file in files} - {""}
    if not ends or not task.input.suffixes:
        return 1
    return 0 if ends & task.input.suffixes else 2
