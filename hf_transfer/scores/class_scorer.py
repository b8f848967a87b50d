"""Scores of one class a row."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from hf_transfer import _guard  # noqa: F401
from hf_transfer.scores import metrics
from hf_transfer.scores.scorer import (
    ClassScores,
    Floats,
    Ids,
    Resampler,
    Scorer,
    Scores,
    array_of,
    checked_names,
    class_ratios,
    refuse_folds,
)
from hf_transfer.scores.statistics import (
    apply_temperature,
    divide,
    mean_defined,
    roc_curves,
    scores_from_counts,
)


class ClassificationScorer(Scorer):
    """Score one class a row, from the columns `label`, `prediction` and `logits`."""

    primary_metric = "accuracy"
    share_right = "accuracy"
    unit = "row"
    calibrates = True
    higher_is_better: Mapping[str, bool] = {
        "accuracy": True,
        "balanced_accuracy": True,
        "precision_macro": True,
        "recall_macro": True,
        "f1_macro": True,
        "f1_micro": True,
        "f1_weighted": True,
        "mcc": True,
        "roc_auc": True,
        "log_loss": False,
    }
    ranges: Mapping[str, tuple[float, float]] = {"mcc": (-1.0, 1.0), "log_loss": (0.0, np.inf)}

    def __init__(self, label_names: Sequence[str]) -> None:
        self.label_names = checked_names(label_names)

    def score(self, table: pa.Table) -> Scores:
        """Score the rows of one fold; all that is a function of counts comes from one count."""
        refuse_folds(table)
        labels, predictions = self._ids(table)
        probabilities = self._probabilities(table)
        hits, support, predicted = (
            np.bincount(ids, minlength=len(self.label_names))[None].astype(np.float64)
            for ids in (labels[labels == predictions], labels, predictions)
        )
        counted = {name: value.item() for name, value in scores_from_counts(hits, support, predicted).items()}
        scores = {
            **{name: None if np.isnan(value) else value for name, value in counted.items()},
            **metrics.roc_auc(labels, probabilities),
            **metrics.log_loss(labels, probabilities),
        }
        return {name: scores[name] for name in self.higher_is_better}

    def per_class(self, table: pa.Table) -> list[ClassScores]:
        """Give precision, recall, F1 and support of each class; support counts a row once."""
        counts = np.asarray(self.confusion(table))
        columns = zip(
            self.label_names, counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1), strict=True
        )
        return class_ratios(columns, table)

    def confusion(self, table: pa.Table) -> list[list[int]]:
        """Count rows by true class (down) and predicted class (across), over all folds and repeats."""
        ids = self._ids(table)
        num_classes = len(self.label_names)
        pairs = np.ravel_multi_index(ids, (num_classes, num_classes))
        counts = np.bincount(pairs, minlength=num_classes**2)
        return counts.reshape(num_classes, num_classes).tolist()

    def _resampler_of_repeat(self, table: pa.Table, names: Collection[str]) -> Resampler:
        labels, predictions = self._ids(table)
        # Rows of one true and one predicted class count alike: each draw is first counted by these pairs.
        pairs, pair_of_row = np.unique(labels * len(self.label_names) + predictions, return_inverse=True)
        true, predicted = np.divmod(pairs, len(self.label_names))
        marks = self._one_hot(true, true == predicted), self._one_hot(true), self._one_hot(predicted)
        others = self._by_probability(table, labels) if {"roc_auc", "log_loss"} & set(names) else None

        def resample(weights: Floats) -> dict[str, Floats]:
            counts = np.stack([np.bincount(pair_of_row, drawn, len(pairs)) for drawn in weights])
            scores = scores_from_counts(*(counts @ mark for mark in marks))
            return scores | others(weights) if others else scores

        return resample

    def _by_probability(self, table: pa.Table, labels: Ids) -> Resampler:
        folds = array_of(table, "fold")
        probabilities = self._probabilities(table)
        losses = metrics.row_losses(labels, probabilities)
        curves = [
            roc_curves(np.flatnonzero(folds == fold), labels, probabilities) for fold in np.unique(folds)
        ]

        def resample(weights: Floats) -> dict[str, Floats]:
            undefined = np.full(len(weights), np.nan)  # what is averaged when no fold has a curve
            areas = (mean_defined(curve.area(weights) for curve in fold) for fold in curves if fold)
            return {
                "roc_auc": mean_defined([undefined, *areas]),
                "log_loss": divide(weights @ losses, weights.sum(axis=1)),
            }

        return resample

    def _one_hot(self, ids: Ids, kept: NDArray[np.bool_] | None = None) -> Any:
        """Mark each entry's class, where `kept`, so that counts @ this counts by class."""
        marks = np.ones(len(ids)) if kept is None else kept.astype(np.float64)
        return sparse.csr_array((marks, (np.arange(len(ids)), ids)), shape=(len(ids), len(self.label_names)))

    def _ids(self, table: pa.Table) -> tuple[Ids, Ids]:
        allowed = range(len(self.label_names))
        labels, predictions = (
            metrics.class_ids(array_of(table, name), name, allowed) for name in ("label", "prediction")
        )
        return labels, predictions

    def labels_and_probabilities(self, table: pa.Table) -> tuple[Ids, Floats]:
        """Give the true class of each row, (n,), and the probabilities of all classes, (n, c)."""
        return self._ids(table)[0], self._probabilities(table)

    def detected(self, table: pa.Table) -> list[tuple[str, NDArray[np.bool_], Floats]]:
        """Each class against the rest."""
        labels, shares = self.labels_and_probabilities(table)
        return [(name, labels == i, shares[:, i]) for i, name in enumerate(self.label_names)]

    def by_logits(self, table: pa.Table) -> list[Any]:
        """The class with the highest logit of each row."""
        return list(self.logits(table).argmax(axis=1).tolist())

    def _probabilities(self, table: pa.Table) -> Floats:
        return apply_temperature(self.logits(table), 1)
