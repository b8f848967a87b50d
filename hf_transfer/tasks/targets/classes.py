"""Classes: one label an item, of those with names; a softmax over all of them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.folds.columns import FoldColumns
from hf_transfer.machine.wording import aligned
from hf_transfer.scores.class_scorer import ClassificationScorer
from hf_transfer.scores.regression import LinearProblem
from hf_transfer.scores.scorer import Scorer
from hf_transfer.scores.statistics import apply_temperature, fit_temperature
from hf_transfer.scores.transferability import Measure, measure_for
from hf_transfer.tasks.targets.hard_rows import HardRows, hard_rows
from hf_transfer.tasks.targets.labels import LabelColumn, NamedLabels, name_labels, renumbered
from hf_transfer.tasks.targets.reading import Reading
from hf_transfer.tasks.targets.target import IGNORE_INDEX, Target

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset
    from torch import Tensor

    from hf_transfer.config.run_config import RunConfig

_LEAST = 1e-12  # probability that a label is given, so that one row cannot make the mean infinite


class Classes(Target):
    """One class a row.

    Args:
        label_names: In the order of their ids.
    """

    name = "classes"
    problem_type: ClassVar[str | None] = "single_label_classification"
    settings = ("class_weights", "label_smoothing")
    solvers = ("lbfgs", "ridge")
    missing = IGNORE_INDEX
    unlabelled: Any = 0
    right_or_wrong = True

    def __init__(self, label_names: Sequence[str], settings: "RunConfig | None" = None) -> None:
        self.label_names = tuple(label_names)
        self.scorer = self._scorer()

    def _scorer(self) -> Scorer:
        return ClassificationScorer(self.label_names)

    @classmethod
    def read(cls, columns: Sequence[LabelColumn]) -> NamedLabels:
        """The names of the classes, and the labels as numbers of them."""
        return name_labels(columns)

    @classmethod
    def label_type(cls, names: Sequence[str]) -> Any:
        """A whole number."""
        from datasets import Value

        return Value("int64")

    @property
    def class_names(self) -> Sequence[str]:
        """The label names."""
        return self.label_names

    def classes_of(self, label: Any) -> Sequence[str]:
        """The row's class."""
        return (self.label_names[label],)

    def renumbered(self, labels: Sequence[Any], names: Sequence[str], where: str) -> list[Any]:
        """By their names."""
        return renumbered(labels, names, self.label_names, where)

    def items(self, labels: "Tensor") -> "tuple[Tensor, Tensor]":
        """The class of each row or word."""
        return labels.flatten(), labels.flatten() != IGNORE_INDEX

    def of_items(self, labels: Sequence[Any]) -> NDArray[Any]:
        """Class numbers."""
        return np.concatenate([np.atleast_1d(np.asarray(label, np.int64)) for label in labels])

    def measure(self, labels: NDArray[Any]) -> Measure:
        """Accuracy, or balanced accuracy where one class prevails; of words F1."""
        return measure_for(labels, len(self.label_names), outside=self.outside)

    def linear_problem(self, features: NDArray[Any], labels: NDArray[Any], **options: Any) -> LinearProblem:
        """A linear classifier."""
        return LinearProblem(features, labels, len(self.label_names), **options)

    def loss(
        self, outputs: "Tensor", labels: "Tensor", weights: "Tensor | None" = None, smoothing: float = 0.0
    ) -> "Tensor":
        """Cross-entropy."""
        from torch.nn import functional

        return functional.cross_entropy(
            outputs.float().flatten(0, -2),
            labels.flatten(),
            weight=weights,
            label_smoothing=smoothing,
            ignore_index=IGNORE_INDEX,
            reduction="sum",
        )

    def weight(self, labels: "Tensor", weights: "Tensor | None" = None) -> "Tensor":
        """The number of labels, or the sum of the weights of their classes."""
        counted = labels != IGNORE_INDEX  # taking those alone would wait for the device, to know how many
        if weights is None:
            return counted.sum().float()
        return (weights[labels.where(counted, 0)] * counted).sum()

    def head_losses(
        self, outputs: "Tensor", labels: "Tensor", weights: "Tensor | None" = None, smoothing: float = 0.0
    ) -> "tuple[Tensor, Tensor]":
        """Cross-entropy of each head."""
        import torch

        logp = outputs.float().flatten(2, -2).log_softmax(-1)
        labels = labels.flatten(1)[:, None].expand(logp.shape[:-1])
        counted = labels != IGNORE_INDEX
        target = labels.clamp(min=0).unsqueeze(-1)
        of_class = torch.ones_like(logp[:, 0, 0]) if weights is None else weights
        spread_out = of_class[:, None, None, :].expand(logp.shape)
        weight = spread_out.gather(-1, target).squeeze(-1) * counted
        loss = -logp.gather(-1, target).squeeze(-1) * weight
        if smoothing:
            spread = -(logp * spread_out).sum(-1) * counted / logp.shape[-1]
            loss = (1 - smoothing) * loss + smoothing * spread
        return loss.sum(-1), weight.sum(-1)

    def balanced_weights(self, labels: Sequence[Any]) -> NDArray[Any]:
        """Inverse frequency of each class, 1 on average."""
        flat = np.hstack(labels)
        counts = np.bincount(flat[flat != IGNORE_INDEX], minlength=len(self.label_names))
        found: NDArray[Any] = counts.sum() / (len(counts) * np.maximum(counts, 1))
        return found

    def calibrated_loss(self, outputs: NDArray[Any], labels: NDArray[Any]) -> float:
        """Mean cross-entropy at the temperature that suits these labels best."""
        temperature = fit_temperature(outputs, labels, imagined=0) if len(np.unique(labels)) > 1 else 1.0
        shares = apply_temperature(outputs, temperature)
        return float(-np.log(np.maximum(shares[np.arange(len(labels)), labels], _LEAST)).mean())

    def decode(self, outputs: "Tensor", labels: "Tensor") -> list[NDArray[Any]]:
        """Logits of each row, (1, c) in float32."""
        return list(outputs.float().cpu().numpy()[:, None, :])

    def average(self, outputs: Sequence[NDArray[Any]], temperature: float) -> NDArray[Any]:
        """The logarithm of the mean of the probabilities, which a softmax gives back."""
        if not len(outputs[0]):  # a sentence without words
            return np.asarray(outputs[0])
        shares = np.mean([apply_temperature(one, temperature) for one in outputs], axis=0)
        smallest = np.finfo(np.float32).tiny  # a probability of 0 has no logarithm
        logs: NDArray[Any] = np.log(np.maximum(shares, smallest)).astype(np.float32)
        return logs

    def columns(self, rows: "Dataset", decoded: Sequence[NDArray[Any]]) -> dict[str, Any]:
        """Label, predicted label and logits."""
        logits = np.concatenate([*decoded, np.zeros((0, len(self.label_names)), np.float32)])
        columns: dict[str, Any] = {"label": rows["label"][:]} if "label" in rows.column_names else {}
        return columns | {"prediction": logits.argmax(1), "logits": logits}

    @property
    def not_two_classes(self) -> str | None:
        """That it has more of them."""
        return None if len(self.label_names) == 2 else f"has {len(self.label_names)} classes"

    def answers(
        self, names: Sequence[str], columns: dict[str, Any], reading: Reading
    ) -> tuple[list[dict[str, Any]], str]:
        """The label of each input and its probability, and as many others as are wanted."""
        shares = apply_temperature(columns["logits"], 1.0)  # they are logarithms of probabilities
        found, lines = [], []
        for name, best, row in zip(names, reading.choose(shares), shares, strict=True):
            order = [best, *(i for i in np.argsort(-row, kind="stable").tolist() if i != best)]
            ranked = [(self.label_names[i], float(row[i])) for i in order[: reading.top_k]]
            found.append({"input": name} | self._answer(ranked, reading))
            lines.append([cell for label, share in ranked for cell in (label, f"{share:.3f}")] + [name])
        if reading.threshold is None:
            return found, aligned(lines)
        found = [one | {"threshold": reading.about} for one in found]
        return found, f"{aligned(lines)}\n\n{reading.sentence()}"

    def _answer(self, ranked: Sequence[tuple[str, float]], reading: Reading) -> dict[str, Any]:
        """What is said of one input, of labels with their probabilities."""
        if reading.top_k is None:
            label, share = ranked[0]
            shares = dict(ranked)
            named = {name: shares[name] for name in self.label_names}
            return {"label": label, "probability": share, "probabilities": named}
        answer: dict[str, Any] = {}
        for place, (label, share) in enumerate(ranked, 1):
            end = f"_{place}" if place > 1 else ""
            answer |= {f"label{end}": label, f"probability{end}": share}
        return answer

    def compared(self, predictions: "pa.Table") -> tuple[NDArray[Any], NDArray[Any]] | None:
        """The classes."""
        return np.asarray(predictions["prediction"]), np.asarray(predictions["label"])

    def hard_rows(self, predictions: "pa.Table") -> HardRows:
        """The rows that were wrong with the highest loss, and those whose label another class claims."""
        return hard_rows(predictions, self.label_names)

    def balance(self, rows: "Dataset | Mapping[str, Sequence[Any]]") -> FoldColumns:
        """The classes."""
        return FoldColumns(labels=np.asarray(rows["label"][:], np.int64), label_names=self.label_names)
