"""Tasks hold everything that differs between kinds of data; no other room asks which task runs."""

from collections.abc import Sequence
from dataclasses import fields
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.flags import show_apart
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ConfigError
from hf_transfer.scores.names import metric_name as _metric_name
from hf_transfer.tasks.targets.target import IGNORE_INDEX, Target
from hf_transfer.tasks.task import Task

if TYPE_CHECKING:
    from hf_transfer.tasks.audio_classification import AudioClassification
    from hf_transfer.tasks.image_classification import ImageClassification
    from hf_transfer.tasks.image_text_classification import ImageTextClassification
    from hf_transfer.tasks.text_classification import SequenceClassification
    from hf_transfer.tasks.text_pair_classification import TextPairClassification
    from hf_transfer.tasks.token_classification import TokenClassification

__all__ = [
    "IGNORE_INDEX",
    "AudioClassification",
    "ImageClassification",
    "ImageTextClassification",
    "SequenceClassification",
    "Task",
    "TextPairClassification",
    "TokenClassification",
    "all_tasks",
    "check_settings",
    "kin",
    "kinds",
    "metric_name",
    "own_headings",
    "target_of_run",
    "task_class",
    "task_of_kind",
]

# The module and the class of each task: a new one is one line, the more particular before the less, as
# rows are tried in this order. Of tasks with one task id of the Hub, the last is what a run without a
# recorded input was of.
_TASKS = (
    "token_classification.TokenClassification",
    "audio_classification.AudioClassification",
    "image_classification.ImageClassification",
    "text_pair_classification.TextPairClassification",
    "text_classification.SequenceClassification",
    "image_text_classification.ImageTextClassification",  # by its name only, as others read one of the two
)


def task_class(name: str, input: str | None = None) -> type[Task]:
    """The task of a Hub task id such as `text-classification`.

    Args:
        name: The Hub's task id.
        input: What `--kind` calls the task's input, as several tasks may have one id; the usual one of them
            when not given.

    Raises:
        ConfigError: If there is none.
    """
    named = [task for task in all_tasks() if task.name == name]
    if not named:
        ids = ", ".join(dict.fromkeys(task.name for task in all_tasks()))
        raise ConfigError(f"There is no task {name!r}. Use one of {ids}.")
    found = [task for task in named if input in (task.input.name, None)]
    if not found:
        able = ", ".join(task.input.name for task in named)
        raise ConfigError(f"{name} reads {able}, and the run has input {input!r}. Update the kit.")
    return found[-1]


def kin(task: type[Task]) -> list[type[Task]]:
    """The tasks of the same Hub task id that are tried before a task, and the task itself, last."""
    before = all_tasks()[: all_tasks().index(task)] if task in all_tasks() else []
    return [*(other for other in before if other.name == task.name), task]


def check_settings(config: RunConfig, *tasks: type[Task]) -> None:
    """Stop at settings that are given and that only other inputs than those of these tasks use.

    Raises:
        ConfigError: Naming them, and those that the input does use.
    """
    own = {name for task in tasks for name in task.input.settings}
    others = sorted({name for other in all_tasks() for name in other.input.settings} - own)
    default = {field.name: field.default for field in fields(config)}
    unused = [
        f"{name}={getattr(config, name)!r}" for name in others if getattr(config, name) != default[name]
    ]
    if unused:
        raise ConfigError(
            f"{' and '.join(unused)}: {tasks[-1].input.nouns} have no such setting. Leave it out; they have "
            f"{', '.join(sorted(own))}."
        )


def own_headings() -> dict[str, str]:
    """What `--help` shows above the settings that only some inputs or targets use, by the setting's name."""
    users: dict[str, dict[str, None]] = {}  # by setting, what it is for, each once and in order
    for task in all_tasks():
        called = [(task.input.nouns, task.input.settings)]
        called += [(target.name.replace("_", " "), target.settings) for target in task.targets]
        for nouns, names in called:
            for name in names:
                users.setdefault(name, {})[nouns] = None
    return {name: f"For {_listed(list(nouns))} only" for name, nouns in users.items()}


def _listed(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


show_apart(own_headings)


def target_of_run(
    task: str,
    label_names: Sequence[str],
    target: str | None = None,
    config: RunConfig | None = None,
    *,
    input: str | None = None,
) -> Target:
    """The target of a finished run, by what results.json holds.

    Args:
        task: The Hub's task id.
        label_names: In the order of their ids.
        target: What the labels are; the usual kind of the task when not given.
        config: The run's settings, where they matter.
        input: What goes in; the usual one of the task when not given.

    Raises:
        ConfigError: If the task has no such labels.
    """
    kinds = task_class(task, input).targets
    found = {kind.name: kind for kind in kinds}.get(target or kinds[0].name)
    if found is None:
        able = ", ".join(kind.name for kind in kinds)
        raise ConfigError(f"{task} learns {able}, and the run has target {target!r}. Update the kit.")
    return found(label_names, config)


def metric_name(name: str, task: str = "") -> str:
    """Readable name of a metric, as a task calls it; a Hub metric keeps its own."""
    own = task_class(task).metric_names if task else {}
    return own.get(name) or _metric_name(name)


def all_tasks() -> list[type[Task]]:
    """Every task, the more particular before the less."""
    return [_task(line) for line in _TASKS]


def _task(line: str) -> type[Task]:
    module, name = line.split(".")
    return getattr(import_module(f"hf_transfer.tasks.{module}"), name)  # type: ignore[no-any-return]


def kinds() -> list[str]:
    """What `--kind` takes: the name of each task's input."""
    return [task.input.name for task in all_tasks()]


def task_of_kind(kind: str) -> type[Task]:
    """The task that `--kind` names, by its input.

    Raises:
        ConfigError: If there is none.
    """
    found = [task for task in all_tasks() if task.input.name == kind]
    if not found:
        raise ConfigError(f"There is no task for {kind!r}. Use one of {', '.join(kinds())}.")
    return found[0]


def __getattr__(name: str) -> Any:
    for line in _TASKS:
        if line.endswith(f".{name}"):
            return _task(line)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
