"""The protocol every task follows, and what the two classifications share."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from hf_transfer.config.run_config import Kind, RunConfig
from hf_transfer.folds.columns import FoldColumns
from hf_transfer.scores.class_scorer import ClassificationScorer
from hf_transfer.scores.scorer import Scorer

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor, nn

    from hf_transfer.models.base_model import BaseModel

IGNORE_INDEX = -100  # a label the loss and the scores skip; PyTorch's default


class Task(Protocol):
    """What differs between kinds of task. The life of a batch: encode, collate, transform, model, decode."""

    name: ClassVar[str]
    """The Hub's task id: also the card template's file name."""
    kind: ClassVar[Kind]
    """What a row's input is: `image`, `text` or `tokens`."""
    settings: RunConfig
    label_names: tuple[str, ...]
    scorer: Scorer

    def __init__(self, settings: RunConfig, label_names: Sequence[str]) -> None: ...

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
        batches are sorted by), `labels`, and optionally `cut` (tokens that were left out).
        """
        ...

    def collate(self, encoded: Sequence[Mapping[str, Any]]) -> "dict[str, Tensor]":
        """Stack encoded rows into the model's keyword arguments and `labels`.

        Args:
            encoded: Rows that `encode` made.
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

    def decode(self, logits: "Tensor", labels: "Tensor") -> list[NDArray[Any]]:
        """Logits of each encoded row, (m, c) in float32: one line for the row, or one for each word.

        Where several encoded rows come from one row, their lines are joined.
        """
        ...

    def columns(self, rows: "Dataset", decoded: Sequence[NDArray[Any]]) -> dict[str, Any]:
        """The columns of `predictions.parquet` that depend on the task, from the logits of each row.

        Each is a list or an array with an entry, or a line, for each row.
        """
        ...

    def fold_columns(self, rows: "Dataset") -> FoldColumns:
        """What folds are balanced by."""
        ...

    def save_processor(self, folder: Path) -> None:
        """Write what turns a raw input into model inputs, so that the folder loads without the kit."""
        ...


class CommonTask:
    """What the tasks share: one opened base model, and inputs that are used as they were stacked."""

    augments = False
    notes: Sequence[str] = ()

    def __init__(self, settings: RunConfig, label_names: Sequence[str]) -> None:
        self.settings = settings
        self.label_names = tuple(label_names)

    @cached_property
    def base(self) -> "BaseModel":
        """The opened base model."""
        from hf_transfer.models.base_model import open_base_model

        return open_base_model(self.settings)

    @property
    def library(self) -> str:
        """`timm` or `transformers`."""
        return "timm" if self.base.is_timm else "transformers"

    def transform(
        self, batch: "dict[str, Tensor]", seeds: Sequence[int] | None = None
    ) -> "dict[str, Tensor]":
        """The batch itself."""
        return batch


class Classification(CommonTask):
    """One label a row."""

    def __init__(self, settings: RunConfig, label_names: Sequence[str]) -> None:
        super().__init__(settings, label_names)
        self.scorer: Scorer = ClassificationScorer(self.label_names)

    def decode(self, logits: "Tensor", labels: "Tensor") -> list[NDArray[Any]]:
        """Logits of each row, (1, c) in float32."""
        return list(logits.float().cpu().numpy()[:, None, :])

    def columns(self, rows: "Dataset", decoded: Sequence[NDArray[Any]]) -> dict[str, Any]:
        """Label, predicted label and logits."""
        logits = np.concatenate([*decoded, np.zeros((0, len(self.label_names)), np.float32)])
        columns: dict[str, Any] = {"label": rows["label"][:]} if "label" in rows.column_names else {}
        return columns | {"prediction": logits.argmax(1), "logits": logits}

    def fold_columns(self, rows: "Dataset") -> FoldColumns:
        """Balanced by class."""
        return FoldColumns(labels=np.asarray(rows["label"][:], np.int64), label_names=self.label_names)


def label_column(rows: Mapping[str, list[Any]], missing: Any) -> list[Any]:
    """Labels of a batch of rows, or stand-ins when there are none to learn from."""
    return list(rows["label"]) if "label" in rows else [missing] * len(rows["input"])
