"""Scores of one number a row, or of several."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.scores.number_metrics import Numbers, finite_numbers
from hf_transfer.scores.scorer import (
    ClassScores,
    Floats,
    Resampler,
    Scorer,
    Scores,
    array_of,
    column_of,
    refuse_folds,
)
from hf_transfer.scores.statistics import divide, mean_defined

V = TypeVar("V")

_MOST_DRAWN = 1000  # rows in a picture
_MOST_NUMBERS = 6  # of a row in it


class NumberScorer(Scorer):
    """Score one or several numbers a row, from the columns `label` and `prediction`.

    Errors are pooled over folds. R² and correlations are those within a fold, averaged: over folds
    together, the folds' different means would count as something explained. Of several numbers each
    score is the mean over them, beside that of each; as they may have other units, R² comes first.
    """

    primary_metric = "mae"
    unit = "row"
    higher_is_better: Mapping[str, bool] = {
        "mae": False,
        "rmse": False,
        "r_squared": True,
        "pearsonr": True,
        "spearmanr": True,
    }
    ranges: Mapping[str, tuple[float, float]] = {
        "mae": (0.0, np.inf),
        "rmse": (0.0, np.inf),
        "r_squared": (-np.inf, 1.0),
        "pearsonr": (-1.0, 1.0),
        "spearmanr": (-1.0, 1.0),
    }

    def __init__(self, label_names: Sequence[str]) -> None:
        self.label_names = tuple(label_names)
        if not self.label_names or len(set(self.label_names)) < len(self.label_names):
            raise ConfigError(
                f"Numbers have different names, one each, got {', '.join(self.label_names) or 'none'}."
            )
        if len(self.label_names) > 1:
            self.primary_metric = "r_squared"
            self.higher_is_better = _with_each(self.higher_is_better, self.label_names)
            self.ranges = _with_each(self.ranges, self.label_names)

    def score(self, table: pa.Table) -> Scores:
        """Score the rows of one fold."""
        refuse_folds(table)
        return self.of_one_repeat(table)

    def per_class(self, table: pa.Table) -> list[ClassScores]:
        """Give none: numbers have no classes."""
        return []

    def confusion(self, table: pa.Table) -> None:
        """Give None, for the same reason."""
        return None

    def scatter(self, table: pa.Table) -> list[list[float]] | None:
        """The true numbers, then the predicted ones, of up to a thousand rows spread over the true ones.

        Of many numbers a row, the first six.
        """
        both = np.concatenate([numbers[:, :_MOST_NUMBERS] for numbers in self.numbers(table)], axis=1)
        order = np.lexsort(both.T[::-1])
        chosen = order[np.linspace(0, len(order) - 1, min(len(order), _MOST_DRAWN)).astype(np.int64)]
        rows: list[list[float]] = both[chosen].tolist()
        return rows

    def numbers(self, table: pa.Table) -> tuple[Floats, Floats]:
        """True and predicted numbers of each row, (n, t) both."""
        num_columns = len(self.label_names)
        label, prediction = (numbers_of(table, name, num_columns) for name in ("label", "prediction"))
        return label, prediction

    def _resampler_of_repeat(self, table: pa.Table, names: Collection[str]) -> Resampler:
        label, prediction = self.numbers(table)
        folds = array_of(table, "fold") if "fold" in table.column_names else np.zeros(len(label))
        places = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]
        columns = [_Column(*pair, places) for pair in zip(label.T, prediction.T, strict=True)]
        if len(columns) == 1:
            return lambda weights: columns[0].scores(weights, names)

        def resample(weights: Floats) -> dict[str, Floats]:
            wanted = {score for score in _SCORES if any(name.startswith(score) for name in names)}
            of_columns = [column.scores(weights, wanted) for column in columns]
            found = {name: mean_defined(scores[name] for scores in of_columns) for name in of_columns[0]}
            for column, scores in zip(self.label_names, of_columns, strict=True):
                found |= {_of(name, column): values for name, values in scores.items()}
            return found

        return resample


@dataclass(frozen=True, eq=False)
class _Column:
    """True and predicted numbers, (n,) both, and the rows of each fold."""

    label: Floats
    prediction: Floats
    places: Sequence[NDArray[np.intp]]

    def scores(self, weights: Floats, names: Collection[str]) -> dict[str, Floats]:
        """The errors, and of the other scores those that are asked for, with weights (b, n)."""
        absolute, squared = (divide(sums, weights.sum(axis=1)) for sums in (weights @ self._errors).T)
        found = {"mae": absolute, "rmse": np.sqrt(squared)}
        for name, score in _WITHIN_FOLDS.items():
            if name in names:
                found[name] = mean_defined(score(part, weights[:, rows]) for rows, part in self._parts)
        return found

    @cached_property
    def _errors(self) -> Floats:
        error = self.prediction - self.label
        return np.column_stack([np.abs(error), error**2])

    @cached_property
    def _parts(self) -> list[tuple[NDArray[np.intp], Numbers]]:
        return [(rows, Numbers(self.label[rows], self.prediction[rows])) for rows in self.places]


def numbers_of(table: pa.Table, name: str, num_columns: int) -> Floats:
    """A column of the predictions that holds a number a row, or a list of several, (n, t).

    Raises:
        DataError: If one is missing, not finite, or there are more or fewer than `num_columns`.
    """
    column = column_of(table, name)
    if num_columns == 1:
        return finite_numbers(column.to_numpy(), name)[:, None]
    lengths = pc.unique(pc.list_value_length(column)).to_pylist() if pa.types.is_nested(column.type) else [1]
    if lengths not in ([num_columns], []):
        raise DataError(f"Column {name!r} has {lengths} numbers a row, expected {num_columns}.")
    flat = pc.list_flatten(column).to_numpy() if lengths else np.zeros(0)
    return finite_numbers(flat, name).reshape(-1, num_columns)


def _of(score: str, column: str) -> str:
    """What the score of one of several numbers is called."""
    return f"{score} of {column}"


def _with_each(values: Mapping[str, V], columns: Sequence[str]) -> dict[str, V]:
    """The same for the scores of each of several numbers."""
    each = {_of(name, column): value for name, value in values.items() for column in columns}
    return dict(values) | each


_SCORES = tuple(NumberScorer.higher_is_better)
_WITHIN_FOLDS = {"r_squared": Numbers.r_squared, "pearsonr": Numbers.pearson, "spearmanr": Numbers.spearman}
