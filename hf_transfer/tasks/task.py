"""The interface of a task, and the code that all tasks share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ConfigError
from hf_transfer.machine.wording import some
from hf_transfer.tasks.inputs.input import Input
from hf_transfer.tasks.targets.target import Target

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor, nn

    from hf_transfer.models.base_model import BaseModel
    from hf_transfer.tasks.inputs.table import Table


@dataclass(frozen=True)
class Written:
    """Rows in columns that an input and a target read.

    Attributes:
        rows: With all of their columns, under the same names.
        scheme: How they were written, where that was another way.
        notes: What was changed, a sentence each.
    """

    rows: "Dataset"
    scheme: str = ""
    notes: tuple[str, ...] = ()


class Task(Protocol):
    """An input and a target. The life of a batch: encode, collate, transform, model; the target decodes."""

    name: ClassVar[str]
    """The Hub's task id: also the card template's file name."""
    input: ClassVar[Input]
    """What goes in."""
    targets: ClassVar[tuple[type[Target], ...]]
    """What its labels may be, the usual kind first."""
    label_columns: ClassVar[tuple[str, ...]]
    """Names that people usually give the column of labels, the likeliest first."""
    metric_names: ClassVar[Mapping[str, str]]
    """Readable names of metrics that mean something else elsewhere."""
    auto_class: ClassVar[str]
    """The class of transformers that builds its models."""
    on_hub: ClassVar[bool]
    """Whether the Hub has a task of that id, with a pipeline for its models."""
    settings: RunConfig
    label_names: Sequence[str]
    target: Target
    """What comes out: labels, loss, scores."""

    def __init__(self, settings: RunConfig, labels: "Target | Sequence[str]") -> None: ...

    @classmethod
    def usual_columns(cls, features: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[str]]:
        """Names that the columns of inputs and of labels usually have, the likeliest first.

        Args:
            features: The type of each column.
        """
        ...

    @classmethod
    def takes(cls, features: Mapping[str, Any], column: str | None) -> bool:
        """Whether rows are for this task rather than for a less particular one of the same Hub task id.

        Args:
            features: The type of each column.
            column: That of the inputs, where it is given.
        """
        ...

    @classmethod
    def as_written(cls, rows: "Dataset", input: str, label: str) -> Written:
        """Bring another way of writing such rows into columns that the input and the target read.

        Args:
            rows: As they were stored.
            input: Name of the column of inputs.
            label: Name of the column of labels.

        Raises:
            DataError: If they are of such a way and something is wrong with them.
        """
        ...

    @classmethod
    def with_table(cls, table: "Table | None") -> "type[Task]":
        """The task for rows with these columns beside their inputs; itself where there are none."""
        ...

    @property
    def lacking(self) -> Sequence[int]:
        """For each number that stands beside the features, the place of the one that says it is missing.

        Columns of 0 and 1 have their own place. In encoded rows they are `table`, and in the output layer
        the last of its inputs; none without a table.
        """
        ...

    @property
    def base(self) -> "BaseModel":
        """The opened base model."""
        ...

    @property
    def augments(self) -> bool:
        """Whether `transform` changes training inputs at random."""
        ...

    @property
    def library(self) -> str:
        """What plain code loads the saved model with, by its name on the Hub."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What was chosen for the user about the model, a sentence or two each."""
        ...

    def build_model(self) -> "nn.Module":
        """A fresh model; its new weights are drawn from torch's current seed."""
        ...

    def encode(self, rows: Mapping[str, list[Any]], positions: Sequence[int]) -> dict[str, list[Any]]:
        """Turn rows (`input`, `label`) into model inputs, once for all folds.

        The result has `row` (which row it came from; a long row may give several), `size` (what
        batches are sorted by), `labels`, and optionally `cut` (tokens that were left out) and `alike`
        (only rows of one number are stacked, where padding would change what the model gives).
        """
        ...

    def encoded_notes(self, encoded: "Dataset") -> Sequence[str]:
        """What was lost or changed when rows were encoded, a sentence each.

        Args:
            encoded: Rows that `encode` made.
        """
        ...

    def collate(self, encoded: Sequence[Mapping[str, Any]]) -> "dict[str, Tensor]":
        """Stack encoded rows into the model's keyword arguments and `labels`.

        Args:
            encoded: Rows that `encode` made. Token ids and bytes may come as arrays that lie in a file.
        """
        ...

    def transform(
        self, batch: "dict[str, Tensor]", seeds: Sequence[int] | None = None
    ) -> "dict[str, Tensor]":
        """What is left to do at every use of a stacked batch, on the device that it is on by then.

        Args:
            batch: What `collate` made.
            seeds: One a row when training: random changes are drawn from it alone.
        """
        ...

    def save_processor(self, folder: Path) -> None:
        """Write what turns a raw input into model inputs, so that the folder loads without the kit."""
        ...


class CommonTask:
    """What the tasks share: one opened base model, and inputs that are used as they were stacked."""

    input: ClassVar[Input]
    targets: ClassVar[tuple[type[Target], ...]]
    label_columns: ClassVar[tuple[str, ...]]
    metric_names: ClassVar[Mapping[str, str]] = MappingProxyType({})
    on_hub: ClassVar[bool] = True
    beside_table: ClassVar[type[Any]]
    """The class of its input with a table, of which it is made; of a task that takes one."""
    augments = False
    notes: Sequence[str] = ()

    def __init__(self, settings: RunConfig, labels: Target | Sequence[str]) -> None:
        """Take on a task.

        Args:
            settings: What it uses is said by the class.
            labels: What read the labels (`data.target`); or names of labels of the usual kind, in the order
                of their ids.
        """
        self.settings = settings
        target = self.targets[0](labels) if isinstance(labels, Sequence) else labels
        if type(target) not in self.targets:
            able = ", ".join(kind.name for kind in self.targets)
            raise ConfigError(f"{type(self).__name__} learns {able}, and the labels are {target.name}.")
        self.target: Target = type(target)(target.label_names, settings)
        self.target.scorer = self.target.scorer.headed_by(settings.metric_for_best_model)

    def labels_of(self, rows: Mapping[str, list[Any]]) -> list[Any]:
        """Labels of a batch of rows as they are stacked, or stand-ins where there are none to learn from."""
        given = rows["label"] if "label" in rows else [self.target.unlabelled] * len(rows["input"])
        return self.target.encoded(given)

    def __repr__(self) -> str:
        labels = some([repr(name) for name in self.label_names], noun="label")
        return f"{type(self).__name__}({self.settings.base_model!r}, {labels})"

    @property
    def label_names(self) -> tuple[str, ...]:
        """In the order of their ids."""
        return self.target.label_names

    @classmethod
    def usual_columns(cls, features: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[str]]:
        """Those of its input, and its own for labels."""
        return cls.input.columns, cls.label_columns

    @classmethod
    def takes(cls, features: Mapping[str, Any], column: str | None) -> bool:
        """All rows."""
        return True

    @classmethod
    def as_written(cls, rows: "Dataset", input: str, label: str) -> Written:
        """The rows themselves."""
        return Written(rows)

    @classmethod
    def with_table(cls, table: "Table | None") -> "type[Task]":
        """A class that differs in its input only."""
        return type(cls.__name__, (cls,), {"input": cls.beside_table(table)}) if table else cls

    @property
    def lacking(self) -> Sequence[int]:
        """Of the input's table."""
        return self.input.table.lacking if self.input.table else ()

    @cached_property
    def base(self) -> "BaseModel":
        """The opened base model."""
        from hf_transfer.models.base_model import open_base_model

        return open_base_model(self.settings)

    def encoded_notes(self, encoded: "Dataset") -> Sequence[str]:
        """How many inputs were cut, and how many have a category that the table does not know."""
        cut, unseen = (
            sum(many > 0 for many in encoded[name]) if name in encoded.column_names else 0
            for name in ("cut", "unseen")
        )
        of_all = f"of {len(encoded)} {self.input.nouns}"
        notes = {
            f"{cut} {of_all} were longer than the model reads and were cut.": cut,
            f"{unseen} {of_all} have a category in the table that no row of the training had: it counts as "
            "zeros.": unseen,
        }
        return tuple(note for note, many in notes.items() if many)

    @property
    def library(self) -> str:
        """`timm` or `transformers`."""
        return "timm" if self.base.is_timm else "transformers"

    def transform(
        self, batch: "dict[str, Tensor]", seeds: Sequence[int] | None = None
    ) -> "dict[str, Tensor]":
        """The batch itself."""
        return batch
