"""Scores of one number a row."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pyarrow as pa

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError
from hf_transfer.scores.number_metrics import Numbers, finite_numbers
from hf_transfer.scores.scorer import ClassScores, Floats, Resampler, Scorer, Scores, array_of, refuse_folds
from hf_transfer.scores.statistics import divide, mean_defined

_MOST_DRAWN = 1000  # rows in a picture


class NumberScorer(Scorer):
    """Score one number a row, from the columns `label` and `prediction`.

    Errors are pooled over folds. R² and correlations are those within a fold, averaged: over folds
    together, the folds' different means would count as something explained.
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
        if len(self.label_names) != 1:
            raise ConfigError(f"One number a row has one name, got {', '.join(self.label_names) or 'none'}.")

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

    def scatter(self, table: pa.Table) -> list[list[float]]:
        """True and predicted number of up to a thousand rows, spread over the true ones."""
        label, prediction = self.numbers(table)
        order = np.lexsort((prediction, label))
        chosen = order[np.linspace(0, len(order) - 1, min(len(order), _MOST_DRAWN)).astype(np.int64)]
        return [list(pair) for pair in zip(label[chosen].tolist(), prediction[chosen].tolist(), strict=True)]

    def numbers(self, table: pa.Table) -> tuple[Floats, Floats]:
        """True and predicted number of each row, (n,) both."""
        label, prediction = (finite_numbers(array_of(table, name), name) for name in ("label", "prediction"))
        return label, prediction

    def _resampler_of_repeat(self, table: pa.Table, names: Collection[str]) -> Resampler:
        label, prediction = self.numbers(table)
        errors = np.column_stack([np.abs(prediction - label), (prediction - label) ** 2])
        folds = array_of(table, "fold") if "fold" in table.column_names else np.zeros(len(label))
        places = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]
        parts = [(rows, Numbers(label[rows], prediction[rows])) for rows in places]

        def resample(weights: Floats) -> dict[str, Floats]:
            absolute, squared = (divide(sums, weights.sum(axis=1)) for sums in (weights @ errors).T)
            found = {"mae": absolute, "rmse": np.sqrt(squared)}
            for name, score in _WITHIN_FOLDS.items():
                if name in names:
                    found[name] = mean_defined(score(part, weights[:, rows]) for rows, part in parts)
            return found

        return resample


_WITHIN_FOLDS = {"r_squared": Numbers.r_squared, "pearsonr": Numbers.pearson, "spearmanr": Numbers.spearman}
