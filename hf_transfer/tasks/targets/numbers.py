"""Numbers: one or several real numbers a row, by the squared error (regression)."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.folds.columns import FoldColumns
from hf_transfer.machine.wording import aligned
from hf_transfer.scores.number_scorer import NumberScorer
from hf_transfer.scores.regression import LinearProblem, NumberProblem
from hf_transfer.scores.scorer import Scorer
from hf_transfer.scores.transferability import Measure, NumberMeasure
from hf_transfer.tasks.targets.hard_rows import HardRows, farthest_rows
from hf_transfer.tasks.targets.labels import LabelColumn, NamedLabels
from hf_transfer.tasks.targets.number_column import quantile_bins, read_numbers, refuse_constant
from hf_transfer.tasks.targets.reading import Reading
from hf_transfer.tasks.targets.target import Target

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset
    from torch import Tensor

    from hf_transfer.config.run_config import RunConfig

_FEWEST_ROWS, _USUAL_FOLDS = 20, 5  # by which folds are balanced
_ALIKE = 10  # rows whose numbers are as good as equal


class Numbers(Target):
    """One number a row, or several.

    Each is learned in units of the mean and the deviation of the training rows, which are then folded into
    the output layer: the published model gives numbers as they come in the data.

    Args:
        label_names: Those of the numbers.
    """

    name = "numbers"
    problem_type = "regression"
    settings = ("label_columns", "number_loss")
    solvers = ("ridge",)
    scales = True
    missing = math.nan
    in_columns = True
    called = ("range", "ranges")

    def __init__(self, label_names: Sequence[str], settings: "RunConfig | None" = None) -> None:
        self.label_names = tuple(label_names)
        self.by_huber = settings is not None and settings.number_loss == "huber"
        self.num_folds = settings.num_folds if settings else _USUAL_FOLDS
        self.scorer = self._scorer()

    def _scorer(self) -> Scorer:
        return NumberScorer(self.label_names)

    def problems(self, config: "RunConfig") -> list[str]:
        """Settings of classes, which numbers are not."""
        given = {"label_smoothing": 0.0, "class_weights": "none", "at_specificity": None}
        return super().problems(config) + [
            f"{name}={getattr(config, name)!r} is for classes, and the labels are numbers; leave it out."
            for name, usual in given.items()
            if getattr(config, name) != usual
        ]

    @classmethod
    def read(cls, columns: Sequence[LabelColumn]) -> NamedLabels:
        """The numbers, under the names of their columns."""
        found = [read_numbers(column) for column in columns]
        refuse_constant(*found[0], columns[0].where)
        return NamedLabels(found[0][0], tuple(numbers for _, numbers in found))

    @classmethod
    def label_type(cls, names: Sequence[str]) -> Any:
        """A number in double precision, or a list of several."""
        from datasets import List, Value

        return Value("float64") if len(names) == 1 else List(Value("float64"))

    @property
    def several(self) -> bool:
        """Whether a row has more than one number."""
        return len(self.label_names) > 1

    @property
    def unlabelled(self) -> Any:
        """Zeros."""
        return [0.0] * len(self.label_names) if self.several else 0.0

    @property
    def class_names(self) -> Sequence[str]:
        """None: there are no classes."""
        return ()

    def tabled(self, labels: Sequence[Any]) -> tuple[Sequence[str], NDArray[np.int64]]:
        """Ranges of the number, by which folds are balanced."""
        columns = [self._bins(numbers) for numbers in self._table(labels).T]
        names = tuple(name for _, of_column in columns for name in of_column)
        if self.several:
            ends = zip(self.label_names, columns, strict=True)
            names = tuple(f"{name} {range_}" for name, (_, of_column) in ends for range_ in of_column)
        marks = [np.eye(len(of_column), dtype=np.int64)[bins] for bins, of_column in columns]
        return names, np.concatenate(marks, axis=1)

    def _table(self, labels: Sequence[Any]) -> NDArray[np.float64]:
        """Labels of rows, (n, t)."""
        return np.asarray(labels, np.float64).reshape(-1, len(self.label_names))

    def _bins(self, numbers: NDArray[np.float64]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        return quantile_bins(numbers, max(_FEWEST_ROWS, 2 * self.num_folds))

    def encoded(self, labels: Sequence[Any]) -> list[Any]:
        """A list of numbers a row."""
        return list(self._table(labels).tolist())

    def strata(self, labels: Sequence[Any]) -> NDArray[np.int64]:
        """Runs of ten rows whose numbers follow each other: of several numbers, their mean ranks."""
        ranks = _ranks(_ranks(self._table(labels)).mean(axis=1))
        return ranks // _ALIKE

    @property
    def id_names(self) -> Sequence[str]:
        """None."""
        return ()

    def classes_of(self, label: Any) -> Sequence[str]:
        """None."""
        return ()

    def items(self, labels: "Tensor") -> "tuple[Tensor, Tensor]":
        """The numbers of each row, (b, t)."""
        return labels, ~labels[:, 0].isnan()

    def of_items(self, labels: Sequence[Any]) -> NDArray[Any]:
        """Numbers, (n,), or (n, t) of several."""
        return np.asarray(labels, np.float64)

    def measure(self, labels: NDArray[Any]) -> Measure:
        """R²; of several numbers its mean."""
        return NumberMeasure(num_classes=len(self.label_names))

    def linear_problem(self, features: NDArray[Any], labels: NDArray[Any], **options: Any) -> LinearProblem:
        """Ridge regression, in the unit of the labels."""
        units = labels.reshape(len(labels), -1).std(axis=0)
        return NumberProblem(
            features,
            labels,
            len(self.label_names),
            "ridge",
            dropped=options.get("dropped", 0.0),
            units=np.where(units > 0, units, 1.0),
        )

    def loss(
        self, outputs: "Tensor", labels: "Tensor", weights: "Tensor | None" = None, smoothing: float = 0.0
    ) -> "Tensor":
        """The squared error, or Huber's: half of the square, beyond one deviation linear."""
        return self.head_losses(outputs[None, None], labels[None])[0][0, 0]

    def weight(self, labels: "Tensor", weights: "Tensor | None" = None) -> "Tensor":
        """The number of rows times that of numbers."""
        return (~labels.isnan()).sum().float()

    def head_losses(
        self, outputs: "Tensor", labels: "Tensor", weights: "Tensor | None" = None, smoothing: float = 0.0
    ) -> "tuple[Tensor, Tensor]":
        """The error of each head, over all numbers."""
        counted = ~labels.isnan()
        error = (outputs.float() - labels.nan_to_num()[:, None]) * counted[:, None]
        loss = error.square()
        if self.by_huber:
            size = error.abs()
            loss = loss.div(2).where(size <= 1, size - 0.5)
        return loss.sum((-2, -1)), counted.sum((-2, -1)).float()[:, None]

    def balanced_weights(self, labels: Sequence[Any]) -> NDArray[Any]:
        """One: numbers are neither rare nor common."""
        return np.ones(1)

    def calibrated_loss(self, outputs: NDArray[Any], labels: NDArray[Any]) -> float:
        """The mean squared error."""
        return float(((outputs - labels.reshape(outputs.shape)) ** 2).mean())

    def decode(self, outputs: "Tensor", labels: "Tensor") -> list[NDArray[Any]]:
        """The numbers of each row, (1, t) in float32."""
        return list(outputs.float().cpu().numpy()[:, None, :])

    def average(self, outputs: Sequence[NDArray[Any]], temperature: float) -> NDArray[Any]:
        """The mean of the numbers."""
        return np.asarray(np.mean(outputs, axis=0, dtype=np.float64), np.float32)

    def columns(self, rows: "Dataset", decoded: Sequence[NDArray[Any]]) -> dict[str, Any]:
        """Label and predicted number, or a list of several."""
        table = np.concatenate([*decoded, np.zeros((0, len(self.label_names)), np.float32)])
        found = table.astype(np.float64) if self.several else table[:, 0].astype(np.float64)
        columns: dict[str, Any] = {"label": rows["label"][:]} if "label" in rows.column_names else {}
        return columns | {"prediction": found}

    @property
    def not_two_classes(self) -> str | None:
        """That it gives numbers."""
        return "gives numbers"

    def answers(
        self, names: Sequence[str], columns: dict[str, Any], reading: Reading
    ) -> tuple[list[dict[str, Any]], str]:
        """The number of each input, or several by their names."""
        table = self._table(columns["prediction"]).tolist()
        if not self.several:
            found = [{"input": name, "number": row[0]} for name, row in zip(names, table, strict=True)]
        else:
            named = (dict(zip(self.label_names, row, strict=True)) for row in table)
            found = [{"input": name, "numbers": row} for name, row in zip(names, named, strict=True)]
        shown = ([f"{number:.6g}" for number in row] for row in table)
        heading = [[*self.label_names, ""]] if self.several else []
        lines = [[*row, str(name)] for name, row in zip(names, shown, strict=True)]
        return found, aligned(heading + lines)

    def hard_rows(self, predictions: "pa.Table") -> HardRows:
        """The rows whose number was missed by most."""
        return farthest_rows(predictions, self.label_names)

    def balance(self, rows: "Dataset | Mapping[str, Sequence[Any]]") -> FoldColumns:
        """Quantile bins, each of rows enough for every fold; of several numbers, the bins of each."""
        if self.several:
            names, counts = self.tabled(rows["label"][:])
            return FoldColumns(counts=counts, label_names=names, counted=("range", "row"))
        bins, names = self._bins(np.asarray(rows["label"][:], np.float64))
        return FoldColumns(labels=bins, label_names=names)


def _ranks(values: NDArray[Any]) -> NDArray[np.int64]:
    """Place of each value in its column, from 0."""
    order = np.argsort(values, axis=0, kind="stable")
    return np.argsort(order, axis=0, kind="stable")
