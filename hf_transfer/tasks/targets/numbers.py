"""Numbers: one real number a row, by the squared error (regression)."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError
from hf_transfer.folds.columns import FoldColumns
from hf_transfer.machine.wording import aligned
from hf_transfer.scores.number_scorer import NumberScorer
from hf_transfer.scores.regression import LinearProblem, NumberProblem
from hf_transfer.scores.transferability import Measure, NumberMeasure
from hf_transfer.tasks.targets.hard_rows import HardRows, farthest_rows
from hf_transfer.tasks.targets.labels import LabelColumn, NamedLabels, as_number, is_missing, refuse_rows
from hf_transfer.tasks.targets.reading import Reading
from hf_transfer.tasks.targets.target import Target

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset
    from torch import Tensor

    from hf_transfer.config.run_config import RunConfig

_MOST_BINS, _FEWEST_ROWS, _USUAL_FOLDS = 10, 20, 5  # by which folds are balanced


class Numbers(Target):
    """One number a row.

    It is learned in units of the mean and the deviation of the training rows, which are then folded into the
    output layer: the published model gives numbers as they come in the data.

    Args:
        label_names: One, that of the number.
    """

    name = "numbers"
    problem_type = "regression"
    settings = ("number_loss",)
    solvers = ("ridge",)
    scales = True
    missing = math.nan
    called = ("range", "ranges")
    unlabelled = 0.0

    def __init__(self, label_names: Sequence[str], settings: "RunConfig | None" = None) -> None:
        self.label_names = tuple(label_names)
        self.by_huber = settings is not None and settings.number_loss == "huber"
        self.num_folds = settings.num_folds if settings else _USUAL_FOLDS
        self.scorer = NumberScorer(self.label_names)

    def problems(self, config: "RunConfig") -> list[str]:
        """Settings of classes, which numbers are not."""
        given = {"label_smoothing": 0.0, "class_weights": "none"}
        return super().problems(config) + [
            f"{name}={getattr(config, name)!r} is for classes, and the labels are numbers; leave it out."
            for name, usual in given.items()
            if getattr(config, name) != usual
        ]

    @classmethod
    def read(cls, columns: Sequence[LabelColumn]) -> NamedLabels:
        """The numbers, under the name of their column."""
        numbers = tuple(_read(column) for column in columns)
        if len(set(numbers[0])) < 2:
            raise DataError(
                f"All {len(numbers[0])} rows have the number {numbers[0][0]:g} in {columns[0].where}; there "
                "is nothing to learn. Take another column with --label_column."
            )
        return NamedLabels((columns[0].name,), numbers)

    @classmethod
    def label_type(cls) -> Any:
        """A number in double precision."""
        from datasets import Value

        return Value("float64")

    @property
    def class_names(self) -> Sequence[str]:
        """None: there are no classes."""
        return ()

    def tabled(self, labels: Sequence[Any]) -> tuple[Sequence[str], NDArray[np.int64]]:
        """Ranges of the number, by which folds are balanced."""
        found = self.balance({"label": labels})
        names = tuple(found.label_names or ())
        return names, np.eye(len(names), dtype=np.int64)[np.asarray(found.labels)]

    @property
    def id_names(self) -> Sequence[str]:
        """None."""
        return ()

    def classes_of(self, label: Any) -> Sequence[str]:
        """None."""
        return ()

    def items(self, labels: "Tensor") -> "tuple[Tensor, Tensor]":
        """The number of each row."""
        return labels, ~labels.isnan()

    def of_items(self, labels: Sequence[Any]) -> NDArray[Any]:
        """Numbers."""
        return np.asarray(labels, np.float64)

    def measure(self, labels: NDArray[Any]) -> Measure:
        """R²."""
        return NumberMeasure()

    def linear_problem(self, features: NDArray[Any], labels: NDArray[Any], **options: Any) -> LinearProblem:
        """Ridge regression, in the unit of the labels."""
        return NumberProblem(features, labels, 1, "ridge", dropped=options.get("dropped", 0.0))

    def loss(
        self, outputs: "Tensor", labels: "Tensor", weights: "Tensor | None" = None, smoothing: float = 0.0
    ) -> "Tensor":
        """The squared error, or Huber's: half of the square, beyond one deviation linear."""
        return self.head_losses(outputs[None, None], labels[None])[0][0, 0]

    def weight(self, labels: "Tensor", weights: "Tensor | None" = None) -> "Tensor":
        """The number of rows."""
        return (~labels.isnan()).sum().float()

    def head_losses(
        self, outputs: "Tensor", labels: "Tensor", weights: "Tensor | None" = None, smoothing: float = 0.0
    ) -> "tuple[Tensor, Tensor]":
        """The error of each head."""
        counted = ~labels.isnan()
        error = (outputs.float().squeeze(-1) - labels.nan_to_num()[:, None]) * counted[:, None]
        loss = error.square()
        if self.by_huber:
            size = error.abs()
            loss = loss.div(2).where(size <= 1, size - 0.5)
        return loss.sum(-1), counted.sum(-1, keepdim=True).float()

    def balanced_weights(self, labels: Sequence[Any]) -> NDArray[Any]:
        """One: numbers are neither rare nor common."""
        return np.ones(1)

    def calibrated_loss(self, outputs: NDArray[Any], labels: NDArray[Any]) -> float:
        """The mean squared error."""
        return float(((outputs[:, 0] - labels) ** 2).mean())

    def decode(self, outputs: "Tensor", labels: "Tensor") -> list[NDArray[Any]]:
        """The number of each row, (1, 1) in float32."""
        return list(outputs.float().cpu().numpy()[:, None, :])

    def average(self, outputs: Sequence[NDArray[Any]], temperature: float) -> NDArray[Any]:
        """The mean of the numbers."""
        return np.asarray(np.mean(outputs, axis=0, dtype=np.float64), np.float32)

    def columns(self, rows: "Dataset", decoded: Sequence[NDArray[Any]]) -> dict[str, Any]:
        """Label and predicted number."""
        found = np.concatenate([*decoded, np.zeros((0, 1), np.float32)])[:, 0].astype(np.float64)
        columns: dict[str, Any] = {"label": rows["label"][:]} if "label" in rows.column_names else {}
        return columns | {"prediction": found}

    @property
    def not_two_classes(self) -> str | None:
        """That it gives numbers."""
        return "gives numbers"

    def answers(
        self, names: Sequence[str], columns: dict[str, Any], reading: Reading
    ) -> tuple[list[dict[str, Any]], str]:
        """The number of each input."""
        found = [
            {"input": name, "number": float(number)}
            for name, number in zip(names, columns["prediction"], strict=True)
        ]
        return found, aligned([[f"{one['number']:.6g}", str(one["input"])] for one in found])

    def hard_rows(self, predictions: "pa.Table") -> HardRows:
        """The rows whose number was missed by most."""
        return farthest_rows(predictions)

    def balance(self, rows: "Dataset | Mapping[str, Sequence[Any]]") -> FoldColumns:
        """Quantile bins, each of rows enough for every fold."""
        labels = np.asarray(rows["label"][:], np.float64)
        fewest = max(_FEWEST_ROWS, 2 * self.num_folds)
        bins, names = quantile_bins(labels, fewest)
        return FoldColumns(labels=bins, label_names=names)


def quantile_bins(numbers: NDArray[np.float64], fewest: int) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Put numbers into at most ten bins of about as many each; equal numbers share a bin.

    Args:
        numbers: (n,).
        fewest: Numbers of a bin at least, if there are so many.

    Returns:
        The bin of each number, (n,), and the bins' names.
    """
    values, counts = np.unique(numbers, return_counts=True)
    size = max(fewest, math.ceil(len(numbers) / _MOST_BINS))
    starts, held = [0], 0
    for place, count in enumerate(counts.tolist()):
        if held >= size:
            starts.append(place)
            held = 0
        held += count
    if held < fewest and len(starts) > 1:
        starts.pop()
    ends = [*(start - 1 for start in starts[1:]), len(values) - 1]
    names = tuple(f"{values[a]:g} to {values[b]:g}" for a, b in zip(starts, ends, strict=True))
    found = np.searchsorted(values[starts], numbers, "right") - 1
    return found.astype(np.int64), names


def _read(column: LabelColumn) -> list[float]:
    missing = [row for row, value in enumerate(column.values) if is_missing(value)]
    refuse_rows(missing, f"without a label in {column.where}", "Label them or leave them out.")
    numbers = [as_number(value) for value in column.values]
    wrong = [row for row, number in enumerate(numbers) if number is None or not math.isfinite(number)]
    refuse_rows(
        wrong,
        f"whose label in {column.where} is no finite number",
        f"The first is {column.values[wrong[0]]!r}. Correct them or leave them out." if wrong else "",
    )
    return [number for number in numbers if number is not None]
