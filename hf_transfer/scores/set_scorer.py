"""Scores of a set of labels a row."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.special import expit

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.scores.cutting import Cut, Cutting
from hf_transfer.scores.scorer import (
    ClassScores,
    Floats,
    Ids,
    Resampler,
    Scorer,
    Scores,
    array_of,
    class_ratios,
    column_of,
    refuse_folds,
)
from hf_transfer.scores.set_metrics import Curve, Marks, label_curves, precision_curves, set_scores
from hf_transfer.scores.statistics import best_threshold, mean_defined
from hf_transfer.scores.statistics.counts import divide

HALF = 0.5  # the probability from which on a label is given, where nothing else is better

_FEW = 10  # rows that have a label, or lack it: too few to fit a threshold to


class LabelSetScorer(Scorer):
    """Score a set of labels a row, from the columns `label`, `prediction` and `logits`.

    F1 counts over all folds. Areas are those within a fold, averaged, as scores of different models
    share no scale.
    """

    primary_metric = "f1_micro"
    share_right = "exact_match"
    unit = "row"
    higher_is_better: Mapping[str, bool] = {
        "f1_micro": True,
        "f1_macro": True,
        "average_precision": True,
        "roc_auc": True,
        "hamming_loss": False,
        "exact_match": True,
    }

    def __init__(self, label_names: Sequence[str]) -> None:
        self.label_names = tuple(label_names)
        if not self.label_names or len(set(self.label_names)) < len(self.label_names):
            raise ConfigError(f"label_names must be different names, got {', '.join(label_names) or 'none'}.")

    def score(self, table: pa.Table) -> Scores:
        """Score the rows of one fold."""
        refuse_folds(table)
        return self.of_one_repeat(table)

    def per_class(self, table: pa.Table) -> list[ClassScores]:
        """Give precision, recall, F1 and support of each label."""
        references, predictions = self.marks(table)
        counts = ((references & predictions).sum(0), predictions.sum(0), references.sum(0))
        return class_ratios(zip(self.label_names, *counts, strict=True), table)

    def confusion(self, table: pa.Table) -> None:
        """Give None: a label is given or missed, and none is taken for another."""
        return None

    def marks(self, table: pa.Table) -> tuple[Marks, Marks]:
        """Which labels each row has, and which it was given, (n, c) both."""
        label, prediction = (
            marks_of(column_of(table, name), self.label_names, name) for name in ("label", "prediction")
        )
        return label, prediction

    def detected(self, table: pa.Table) -> list[tuple[str, NDArray[np.bool_], Floats]]:
        """Each label."""
        marks, shares = self.marks(table)[0], expit(self.logits(table))
        return [(name, marks[:, i], shares[:, i]) for i, name in enumerate(self.label_names)]

    @property
    def cutting(self) -> Cutting:
        """A threshold for each label, for its F1."""
        return _Thresholds(self)

    def by_logits(self, table: pa.Table) -> list[Any]:
        """The labels whose logit is 0 or more, of each row."""
        return [np.flatnonzero(row).tolist() for row in self.logits(table) >= 0]

    def _resampler_of_repeat(self, table: pa.Table, names: Collection[str]) -> Resampler:
        marks = self.marks(table)
        areas = self._areas(table, marks[0], set(names) & {"average_precision", "roc_auc"})

        def resample(weights: Floats) -> dict[str, Floats]:
            undefined = np.full(len(weights), np.nan)
            found = set_scores(*marks, weights)
            for name, folds in areas.items():
                of_folds = (
                    mean_defined([undefined, *(curve.area(weights[:, rows]) for curve in curves)])
                    for rows, curves in folds
                )
                found[name] = mean_defined([undefined, *of_folds])
            return found

        return resample

    def _areas(
        self, table: pa.Table, references: Marks, names: Collection[str]
    ) -> dict[str, list[tuple[NDArray[np.intp], Sequence[Curve]]]]:
        """Curves of each fold's labels, with the fold's rows, for each area that is asked for."""
        if not names:
            return {}
        folds = array_of(table, "fold") if "fold" in table.column_names else np.zeros(table.num_rows)
        logits, places = self.logits(table), [np.flatnonzero(folds == fold) for fold in np.unique(folds)]
        return {
            name: [(rows, _CURVES[name](references[rows], logits[rows])) for rows in places] for name in names
        }


class _Thresholds:
    """The probability from which on each label is given."""

    metrics: Sequence[str] = ("f1_micro", "f1_macro", "hamming_loss", "exact_match")

    def __init__(self, scorer: LabelSetScorer) -> None:
        self.scorer = scorer

    def plain(self, table: pa.Table) -> list[Cut]:
        """A half for all."""
        return [Cut(name, HALF) for name in self.scorer.label_names]

    def fit(self, table: pa.Table) -> list[Cut]:
        """The threshold with the best F1 of each label; a half for one that few rows have or lack."""
        labels, shares = self.scorer.marks(table)[0], expit(self.scorer.logits(table))
        few = np.minimum(labels.sum(axis=0), (~labels).sum(axis=0)) < _FEW
        return [
            Cut(name, HALF if rare else best_threshold(column, own.astype(int), "f1").value)
            for name, column, own, rare in zip(
                self.scorer.label_names, shares.T, labels.T, few.tolist(), strict=True
            )
        ]

    def merits(self, table: pa.Table) -> Floats:
        """F1 of each label, (c,)."""
        labels, given = self.scorer.marks(table)
        return divide(2.0 * (labels & given).sum(axis=0), labels.sum(axis=0) + given.sum(axis=0))

    def decide(self, table: pa.Table, points: Sequence[Cut]) -> pa.Table:
        """With the labels whose probability reaches their threshold as the `prediction`."""
        given = pa.array(
            [np.flatnonzero(row).tolist() for row in reached(self.scorer.logits(table), points)],
            pa.list_(pa.int64()),
        )
        return table.set_column(table.column_names.index("prediction"), "prediction", given)


def reached(logits: Floats, points: Sequence[Cut]) -> Marks:
    """Which labels are given by logits (n, c): those whose probability is their threshold or more."""
    thresholds = np.array([HALF if point.value is None else point.value for point in points])
    given: Marks = expit(np.asarray(logits, np.float64)) >= thresholds
    return given


_CURVES: Mapping[str, Callable[[Marks, Floats], Sequence[Curve]]] = {
    "average_precision": precision_curves,
    "roc_auc": label_curves,
}


def marks_of(column: pa.ChunkedArray, label_names: Sequence[str], name: str) -> Marks:
    """Lists of label ids as 0 and 1 for each row and label, (n, c).

    Raises:
        DataError: If the column holds no lists, or a number that is no label's.
    """
    if not pa.types.is_nested(column.type):
        raise DataError(f"Column {name!r} must hold a list of label ids a row, got {column.type}.")
    lengths = pc.list_value_length(column).to_numpy()
    ids: Ids = pc.list_flatten(column).to_numpy().astype(np.int64)
    outside = ids[(ids < 0) | (ids >= len(label_names))]
    if outside.size:
        raise DataError(
            f"Column {name!r} holds the label id {int(outside[0])}; they go from 0 to {len(label_names) - 1}."
        )
    marks = np.zeros((len(column), len(label_names)), bool)
    marks[np.repeat(np.arange(len(column)), lengths), ids] = True
    return marks
