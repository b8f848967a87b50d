"""Label sets: any number of labels a row, none included; a sigmoid for each (multi-label classification)."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError
from hf_transfer.folds.columns import FoldColumns
from hf_transfer.machine.wording import aligned
from hf_transfer.scores.regression import LabelSetProblem, LinearProblem
from hf_transfer.scores.set_scorer import LabelSetScorer, reached
from hf_transfer.scores.statistics import apply_temperature, fit_temperature
from hf_transfer.scores.transferability import LabelSetMeasure, Measure
from hf_transfer.tasks.targets.hard_rows import HardRows, hardest_sets
from hf_transfer.tasks.targets.labels import (
    LabelColumn,
    NamedLabels,
    absence_notes,
    declared_names,
    refuse_lookalikes,
    refuse_rows,
    renumbered,
    sorted_names,
)
from hf_transfer.tasks.targets.reading import Reading
from hf_transfer.tasks.targets.target import IGNORE_INDEX, Target

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset
    from torch import Tensor

    from hf_transfer.config.run_config import RunConfig

_HALF = 0.5
_LEAST = 1e-12  # probability that is given, so that one label cannot make the mean infinite


class LabelSets(Target):
    """A set of labels a row; a label is given where its probability is a half or more.

    Args:
        label_names: In the order of their ids.
    """

    name = "label_sets"
    problem_type = "multi_label_classification"
    settings = ("class_weights", "label_columns", "label_separator", "label_smoothing")
    solvers = ("lbfgs", "ridge")
    missing = IGNORE_INDEX
    in_columns = True
    called = ("label", "labels")
    unlabelled: Any = ()

    scorer: LabelSetScorer

    def __init__(self, label_names: Sequence[str], settings: "RunConfig | None" = None) -> None:
        self.label_names = tuple(label_names)
        self.scorer = LabelSetScorer(self.label_names)

    def problems(self, config: "RunConfig") -> list[str]:
        """Weights that a squared error has no place for."""
        found = super().problems(config)
        if config.head_solver == "ridge" and config.class_weights == "balanced":
            found.append(
                "class_weights='balanced' of several labels a row needs another head_solver than ridge."
            )
        return found

    @classmethod
    def read(cls, columns: Sequence[LabelColumn]) -> NamedLabels:
        """The names of all labels, and each row's as numbers of them, lowest first."""
        names = declared_names(columns)
        sets = [_read(column, names) for column in columns]
        if names is None:
            names = sorted_names({name for part in sets for row in part for name in row})
            refuse_lookalikes(names, columns[0].where)
        counts = [Counter(name for row in part for name in row) for part in sets]
        if not counts[0]:
            raise DataError(
                f"No row has any label in {columns[0].where}; there is nothing to learn. Take another column "
                "with --label_column, or another split."
            )
        ids = {name: i for i, name in enumerate(names)}
        numbered = tuple([sorted(ids[name] for name in row) for row in part] for part in sets)
        notes = [*absence_notes(names, counts), *_everywhere(names, counts[0], len(sets[0]))]
        return NamedLabels(names, numbered, tuple(notes))

    @classmethod
    def label_type(cls, names: Sequence[str]) -> Any:
        """A list of whole numbers."""
        from datasets import List, Value

        return List(Value("int64"))

    @property
    def class_names(self) -> Sequence[str]:
        """The label names."""
        return self.label_names

    def classes_of(self, label: Any) -> Sequence[str]:
        """The row's labels."""
        return [self.label_names[i] for i in label]

    def encoded(self, labels: Sequence[Any]) -> list[Any]:
        """0 or 1 for each label."""
        return list(self.marks(labels).tolist())

    def marks(self, labels: Sequence[Any]) -> NDArray[np.int64]:
        """Which labels each row has, 0 or 1, (n, c)."""
        marks = np.zeros((len(labels), len(self.label_names)), np.int64)
        for row, ids in enumerate(labels):
            marks[row, list(ids)] = 1
        return marks

    def renumbered(self, labels: Sequence[Any], names: Sequence[str], where: str) -> list[Any]:
        """By their names."""
        return renumbered(labels, names, self.label_names, where)

    def items(self, labels: "Tensor") -> "tuple[Tensor, Tensor]":
        """0 or 1 for each row and label, (b, c)."""
        return labels, labels[:, 0] != IGNORE_INDEX

    def of_items(self, labels: Sequence[Any]) -> NDArray[Any]:
        """0 or 1 for each row and label, (n, c)."""
        return self.marks(labels)

    def measure(self, labels: NDArray[Any]) -> Measure:
        """F1 over all labels together."""
        return LabelSetMeasure("f1_micro", len(self.label_names))

    def as_outputs(self, decisions: NDArray[Any]) -> NDArray[Any]:
        """Above 0 for shares above a half."""
        return decisions - _HALF

    def linear_problem(self, features: NDArray[Any], labels: NDArray[Any], **options: Any) -> LinearProblem:
        """A linear classifier for each label."""
        return LabelSetProblem(features, labels, len(self.label_names), **options)

    def loss(
        self, outputs: "Tensor", labels: "Tensor", weights: "Tensor | None" = None, smoothing: float = 0.0
    ) -> "Tensor":
        """Binary cross-entropy over all labels."""
        weights = None if weights is None else weights[None]
        return self.head_losses(outputs[None, None], labels[None], weights, smoothing)[0][0, 0]

    def weight(self, labels: "Tensor", weights: "Tensor | None" = None) -> "Tensor":
        """The number of rows times that of labels."""
        return (labels != IGNORE_INDEX).sum().float()

    def head_losses(
        self, outputs: "Tensor", labels: "Tensor", weights: "Tensor | None" = None, smoothing: float = 0.0
    ) -> "tuple[Tensor, Tensor]":
        """Binary cross-entropy of each head; weights are those of a label that is there (`pos_weight`)."""
        from torch.nn.functional import softplus

        counted = (labels != IGNORE_INDEX)[:, None]
        wanted = labels.clamp(min=0)[:, None] * (1 - smoothing) + smoothing / 2
        logits = outputs.float()
        present = wanted * softplus(-logits)
        if weights is not None:
            present = present * weights[:, None, None]
        loss = (present + (1 - wanted) * softplus(logits)) * counted
        return loss.sum((-2, -1)), counted.sum((-2, -1)).float()

    def balanced_weights(self, labels: Sequence[Any]) -> NDArray[Any]:
        """Rows without each label for one with it; 1 for a label that no row has."""
        marks = np.asarray(labels)
        positive = (marks == 1).sum(0)
        found: NDArray[Any] = np.where(positive > 0, (len(marks) - positive) / np.maximum(positive, 1), 1.0)
        return found

    def calibrated_loss(self, outputs: NDArray[Any], labels: NDArray[Any]) -> float:
        """Mean binary cross-entropy at the temperature that suits these labels best."""
        pairs = np.stack([np.zeros(outputs.size), outputs.ravel()], axis=1)
        flat = labels.ravel()
        temperature = fit_temperature(pairs, flat, imagined=0) if len(np.unique(flat)) > 1 else 1.0
        shares = apply_temperature(pairs, temperature)
        return float(-np.log(np.maximum(shares[np.arange(len(flat)), flat], _LEAST)).mean())

    def decode(self, outputs: "Tensor", labels: "Tensor") -> list[NDArray[Any]]:
        """Logits of each row, (1, c) in float32."""
        return list(outputs.float().cpu().numpy()[:, None, :])

    def average(self, outputs: Sequence[NDArray[Any]], temperature: float) -> NDArray[Any]:
        """The logits of the mean of the probabilities."""
        shares = np.mean([expit(np.asarray(one, np.float64) / temperature) for one in outputs], axis=0)
        within = np.clip(shares, np.finfo(np.float32).tiny, 1 - np.finfo(np.float64).epsneg)
        logits: NDArray[Any] = logit(within).astype(np.float32)
        return logits

    def columns(self, rows: "Dataset", decoded: Sequence[NDArray[Any]]) -> dict[str, Any]:
        """Labels, predicted labels and logits."""
        logits = np.concatenate([*decoded, np.zeros((0, len(self.label_names)), np.float32)])
        columns: dict[str, Any] = {"label": _lists(rows["label"][:])} if "label" in rows.column_names else {}
        given = reached(logits, self.points) if self.points else logits >= 0
        return columns | {"prediction": _lists(map(np.flatnonzero, given)), "logits": logits}

    @property
    def not_two_classes(self) -> str | None:
        """That a row may have several."""
        return "gives any number of labels"

    def answers(
        self, names: Sequence[str], columns: dict[str, Any], reading: Reading
    ) -> tuple[list[dict[str, Any]], str]:
        """The labels of each input, and the probability of each label."""
        shares = expit(np.asarray(columns["logits"], np.float64))
        found = [
            {
                "input": name,
                "labels": [self.label_names[i] for i in ids],
                "probabilities": dict(zip(self.label_names, row.tolist(), strict=True)),
            }
            for name, ids, row in zip(names, columns["prediction"].to_pylist(), shares, strict=True)
        ]
        return found, aligned([[", ".join(one["labels"]) or "-", str(one["input"])] for one in found])

    def compared(self, predictions: "pa.Table") -> tuple[NDArray[Any], NDArray[Any]]:
        """The labels of each row, all together."""
        labels, given = (
            np.array([row.tobytes() for row in marks], object) for marks in self.scorer.marks(predictions)
        )
        return given, labels

    def hard_rows(self, predictions: "pa.Table") -> HardRows:
        """The rows with the highest loss, each by the label that it was most wrong on."""
        return hardest_sets(predictions, self.label_names)

    def balance(self, rows: "Dataset | Mapping[str, Sequence[Any]]") -> FoldColumns:
        """How often each label occurs."""
        return FoldColumns(
            counts=self.marks(rows["label"][:]), label_names=self.label_names, counted=("label", "row")
        )


def _everywhere(names: Sequence[str], counts: Counter[str], num_rows: int) -> Iterator[str]:
    """Say which labels all rows have."""
    if always := [repr(name) for name in names if counts[name] == num_rows]:
        yield f"All {num_rows} rows have the label {', '.join(always)}: it has no ROC AUC."


def _lists(rows: Iterable[Any]) -> Any:
    """Lists of label ids as a column, whatever is empty."""
    import pyarrow as pa

    return pa.array([list(ids) for ids in rows], pa.list_(pa.int64()))


def _read(column: LabelColumn, declared: Sequence[str] | None) -> list[list[str]]:
    """Each row's labels by name, each once."""
    missing = [row for row, value in enumerate(column.values) if value is None]
    refuse_rows(
        missing,
        f"without a list of labels in {column.where}",
        "Label them (an empty list says that a row has none), or leave them out.",
    )
    single = [row for row, value in enumerate(column.values) if not isinstance(value, list | tuple)]
    refuse_rows(
        single,
        f"whose labels in {column.where} are no list",
        "Give a list a row, or --label_separator for texts such as 'a|b'.",
    )
    unknown = [
        row for row, names in enumerate(column.values) if not all(_is_name(name, declared) for name in names)
    ]
    refuse_rows(
        unknown,
        f"with something else than a label in {column.where}",
        f"The first has {column.values[unknown[0]]!r}; labels are texts or whole numbers"
        f"{f', from 0 to {len(declared) - 1}' if declared else ''}."
        if unknown
        else "",
    )
    named = ([declared[i] for i in ids] if declared else map(str, ids) for ids in column.values)
    return [list(dict.fromkeys(names)) for names in named]


def _is_name(value: Any, declared: Sequence[str] | None) -> bool:
    if declared is not None:
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(declared)
    return (isinstance(value, str) and bool(value.strip())) or isinstance(value, int)
