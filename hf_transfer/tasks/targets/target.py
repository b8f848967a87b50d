"""The interface of a target: labels, loss, and how to decode outputs."""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.scores.shuffled import exchangeable_unit, shuffle_labels
from hf_transfer.tasks.targets.learning import Learning

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset
    from torch import Tensor

    from hf_transfer.config.run_config import RunConfig
    from hf_transfer.folds.columns import FoldColumns, Values
    from hf_transfer.scores.cutting import Cut
    from hf_transfer.scores.scorer import Scorer
    from hf_transfer.scores.transferability import Measure
    from hf_transfer.tasks.targets.hard_rows import HardRows
    from hf_transfer.tasks.targets.labels import LabelColumn, NamedLabels
    from hf_transfer.tasks.targets.reading import Reading

IGNORE_INDEX = -100  # a class that the loss and the scores skip; PyTorch's default


class Target(Learning, Protocol):
    """What differs between kinds of label. Nothing outside of `tasks/` knows which of them it has."""

    name: ClassVar[str]
    """As the setting `target` calls it."""
    settings: ClassVar[tuple[str, ...]] = ()
    """Settings that it uses and that no other target does, or only some."""
    label_names: tuple[str, ...]
    """In the order of their ids."""
    scorer: "Scorer"
    unlabelled: Any
    """What stands in for the label of a row that has none to learn from."""
    in_columns: ClassVar[bool] = False
    """Whether the labels of a row may be in several columns."""
    right_or_wrong: ClassVar[bool] = False
    """Whether a row is one decision, so that rows of two models are counted by who was right."""
    per_word: bool = False
    """Whether a row has a label for each of its words, instead of one."""
    counted: str = "rows"
    """What a table of the rows counts."""
    called: tuple[str, str] = ("class", "classes")
    """What a line of that table is called, and several."""
    points: "Sequence[Cut]" = ()
    """The cut points of a finished run, by which `columns` decides; none to take outputs as they come."""
    outside: int | None = None
    """The class of what is part of nothing, by which alone no mention is found; None without one."""

    def __init__(self, label_names: Sequence[str], settings: "RunConfig | None" = None) -> None: ...

    def deciding(self, points: "Sequence[Cut]") -> Self:
        """Itself with the cut points of a finished run."""
        other = copy(self)
        other.points = tuple(points)
        return other

    def problems(self, config: "RunConfig") -> list[str]:
        """Settings that do not go with such labels, a sentence each."""
        if not config.solved or config.head_solver in self.solvers:
            return []
        solvers = " or ".join(self.solvers)
        return [f"head_solver={config.head_solver!r} cannot solve for {self.name}; use {solvers}, or auto."]

    @classmethod
    def read(cls, columns: "Sequence[LabelColumn]") -> "NamedLabels":
        """Check the labels of all splits together, and bring them into the form that is stored.

        Args:
            columns: Of each split; the first is the one to train on.

        Raises:
            DataError: If a label is missing or can't be used.
        """
        ...

    @classmethod
    def label_type(cls, names: Sequence[str]) -> Any:
        """The type of the column `label`, as `datasets` has it.

        Args:
            names: Of the labels, in the order of their ids.
        """
        ...

    @property
    def class_names(self) -> Sequence[str]:
        """What a table of the rows counts, in its order: classes, or types of entities."""
        ...

    def classes_of(self, label: Any) -> Sequence[str]:
        """Which of `class_names` a row with this label counts for, and each as often as it does."""
        ...

    def renumbered(self, labels: Sequence[Any], names: Sequence[str], where: str) -> list[Any]:
        """Labels that were read from other rows, in the numbers of this target.

        Args:
            labels: As `read` stores them.
            names: In the order of the ids that `labels` has.
            where: What to call the rows.

        Raises:
            DataError: If there is a label that this target does not have.
        """
        return list(labels)

    def tabled(self, labels: Sequence[Any]) -> tuple[Sequence[str], NDArray[np.int64]]:
        """What a table of rows counts, (c,), and how often each row has it, (n, c)."""
        places = {name: i for i, name in enumerate(self.class_names)}
        counts = np.zeros((len(labels), len(places)), np.int64)
        for row, label in enumerate(labels):
            for name in self.classes_of(label):
                counts[row, places[name]] += 1
        return tuple(places), counts

    def encoded(self, labels: Sequence[Any]) -> list[Any]:
        """Labels of rows in the form in which they are stacked."""
        return list(labels)

    def of_items(self, labels: Sequence[Any]) -> NDArray[Any]:
        """The label of each row, or of each word of all rows, as an array (m, …)."""
        ...

    def measure(self, labels: NDArray[Any]) -> "Measure":
        """The score of a linear model on frozen features, from labels as `of_items` gives them."""
        ...

    def as_outputs(self, decisions: NDArray[Any]) -> NDArray[Any]:
        """What a linear model that was fitted to 0 and 1 decides, (n, c), as outputs that `columns` takes."""
        return decisions

    def num_items(self, labels: Sequence[Any]) -> NDArray[Any]:
        """How many items each row has, without `missing` ones, (n,)."""
        return np.ones(len(labels), np.int64)

    def strata(self, labels: Sequence[Any]) -> NDArray[np.int64]:
        """A number for each row, (n,): rows of one have labels that are as good as equal."""
        return np.unique(self.tabled(labels)[1] > 0, axis=0, return_inverse=True)[1].reshape(-1)

    def shuffled(
        self,
        labels: Sequence[Any],
        folds: NDArray[Any],
        *,
        seed: int,
        groups: "Values | None",
    ) -> list[Any]:
        """The labels of all rows at places of each other, for a control.

        Args:
            labels: Of each row.
            folds: The fold of each row: only labels of the same fold change places.
            seed: Of what is random.
            groups: The group of each row.
        """
        return shuffle_labels(labels, folds, seed=seed, groups=groups)

    def exchanged(self, labels: Sequence[Any], groups: "Values | None") -> str:
        """What changes places in `shuffled`: `row`, `group` or `word`."""
        return exchangeable_unit(labels, groups)

    @property
    def not_two_classes(self) -> str | None:
        """What a run does instead of deciding between two classes; None if a threshold can decide."""
        ...

    def answers(
        self, names: Sequence[str], columns: dict[str, Any], reading: "Reading"
    ) -> tuple[list[dict[str, Any]], str]:
        """What `predict` gives for new inputs: as values, and as text.

        Args:
            names: What to call each input.
            columns: What `columns` made of what `average` gave, and this itself as `outputs`, (m, c) of each
                input.
            reading: How they are turned into labels.
        """
        ...

    def compared(self, predictions: "pa.Table") -> tuple[NDArray[Any], NDArray[Any]] | None:
        """Prediction and label of each row or word, by which two models agree; None if none ever do."""
        return None

    def relabelled(
        self, encoded: Sequence[Any], row_of: Sequence[int], labels: Sequence[Any]
    ) -> Iterator[Any]:
        """New labels of encoded rows: a row's own in order, over all that it was cut into.

        Args:
            encoded: The labels before.
            row_of: The row that each comes from.
            labels: New ones, of each row.
        """
        given = self.encoded(labels)
        return (given[row] for row in row_of)

    def hard_rows(self, predictions: "pa.Table") -> "HardRows":
        """The rows to look at: those that models found hardest, of out-of-fold predictions."""
        ...

    def decode(self, outputs: "Tensor", labels: "Tensor") -> list[NDArray[Any]]:
        """The outputs of each encoded row, (m, c) in float32: one line for the row, or one for each word.

        Where several encoded rows come from one row, their lines are joined.
        """
        ...

    def average(self, outputs: Sequence[NDArray[Any]], temperature: float) -> NDArray[Any]:
        """Outputs of several models for one row as those of one model, (m, c).

        Args:
            outputs: (m, c) of each model.
            temperature: What each model's logits are divided by first.
        """
        ...

    def columns(self, rows: "Dataset", decoded: Sequence[NDArray[Any]]) -> dict[str, Any]:
        """The columns of `predictions.parquet` that depend on the target, from the outputs of each row.

        Each is a list or an array with an entry, or a line, for each row.
        """
        ...

    def balance(self, rows: "Dataset | Mapping[str, Sequence[Any]]") -> "FoldColumns":
        """What folds are balanced by, from the column `label` of all rows."""
        ...

    @property
    def id_names(self) -> Sequence[str]:
        """Names of the ids that labels are made of; none where they are no ids."""
        return self.label_names

    def read_back(self, predictions: "pa.Table") -> list[Any]:
        """The column `label` of the rows that some predictions are for."""
        return list(predictions["label"].to_pylist())
