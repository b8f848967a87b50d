"""Turn a table of predictions into scores, also for many bootstrap resamples at once.

A score over all folds pools counts (accuracy, F1, entities), as folds are too small for a mean of
ratios. The area under the ROC curve is averaged over folds, as scores of different models share no
scale. Several repeats are averaged. Nothing here imports torch.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.scores import metrics
from hf_transfer.scores.cutting import Cutting
from hf_transfer.scores.names import decisive
from hf_transfer.scores.shuffled import labels_again
from hf_transfer.scores.statistics.counts import mean_defined

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]
Scores = dict[str, float | None]
Range = tuple[float, float]
Resampler = Callable[[Floats], dict[str, Floats]]

CHUNK = 2_000_000  # weights worked on at a time: 16 MB an array


@dataclass(frozen=True)
class ClassScores:
    """Precision, recall, F1 and number of rows of one class, or of mentions of one entity type."""

    label: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


class Scorer(Protocol):
    """How to score one kind of predictions. Undefined scores are None, and NaN in arrays."""

    primary_metric: str
    higher_is_better: Mapping[str, bool]
    unit: str
    label_names: tuple[str, ...]
    ranges: Mapping[str, Range] = MappingProxyType({})
    """What a score can be at least and at most, where that is not 0 to 1."""

    share_right: str | None = None
    """The score that is the share of right answers; None where an answer is not right or wrong."""

    def scatter(self, table: pa.Table) -> list[list[float]] | None:
        """True and predicted number of some rows, to be drawn; None where labels are no numbers."""
        return None

    def detected(self, table: pa.Table) -> "list[tuple[str, NDArray[np.bool_], Floats]] | None":
        """Each class or label with the rows that have it, (n,), and its probability, (n,); None without."""
        return None

    def by_logits(self, table: pa.Table) -> list[Any] | None:
        """The predictions that the logits make; None where there are no logits."""
        return None

    def range_of(self, name: str) -> Range:
        """What a score can be at least and at most; of one that the scorer does not know, anything."""
        return self.ranges.get(name, (0.0, 1.0) if name in self.higher_is_better else (-np.inf, np.inf))

    def unit_of(self, name: str, value: float) -> float:
        """What differences of a score are measured by: 1, or the score itself where it has no bound."""
        return 1.0 if np.isfinite(self.range_of(name)).all() else abs(value)

    @property
    def cutting(self) -> Cutting | None:
        """How cut points are fitted to such predictions; None where nothing is cut."""
        return None

    calibrates: bool = False
    """Whether predictions are probabilities that a temperature can mend: of one class a row."""

    def headed_by(self, metric: str | None) -> Self:
        """Itself with another primary metric; with its own for None.

        Raises:
            ConfigError: If it has no such score.
        """
        if metric is None:
            return self
        other = copy(self)
        other.primary_metric = decisive(metric, self.higher_is_better)
        return other

    def score(self, table: pa.Table) -> Scores:
        """Score the rows of one fold."""

    def per_class(self, table: pa.Table) -> list[ClassScores]:
        """Give precision, recall, F1 and support of each class or entity type, over all folds."""

    def confusion(self, table: pa.Table) -> list[list[int]] | None:
        """Count rows by true and predicted class, over all folds and repeats."""

    def logits(self, table: pa.Table) -> Floats:
        """Read one logit for each row and class, (n, c)."""
        logits = column_of(table, "logits")
        lengths = pc.unique(pc.list_value_length(logits)).to_pylist()
        if lengths != [len(self.label_names)]:
            raise DataError(
                f"Column 'logits' has {lengths} entries a row, expected {len(self.label_names)}: "
                f"one for each of {', '.join(self.label_names[:10])}."
            )
        values = pc.list_flatten(logits).to_numpy().reshape(-1, len(self.label_names))
        return metrics.class_scores(values, "logits")

    def shuffled(self, table: pa.Table, seed: int) -> pa.Table:
        """Put the labels of held-out rows in each other's places, within the fold."""
        return labels_again(table, seed)

    def _resampler_of_repeat(self, table: pa.Table, names: Collection[str]) -> Resampler:
        """Read the rows of one repeat; give the function from weights (b, n) to scores (b,)."""

    def resampler(self, table: pa.Table, names: Collection[str] = ()) -> Resampler:
        """Read the rows of all folds; give the function from weights (b, n) to scores (b,).

        Args:
            table: Out-of-fold predictions.
            names: Scores to give; all of them if not given.
        """
        names = names or self.higher_is_better
        _refuse_twice(table)
        repeats = array_of(table, "repeat")
        parts = []
        for repeat in np.unique(repeats):
            rows = np.flatnonzero(repeats == repeat)
            parts.append((_span(rows), self._resampler_of_repeat(rows_at(table, rows), names)))

        def resample(weights: Floats) -> dict[str, Floats]:
            scores = [part(weights[:, rows]) for rows, part in parts]
            return {name: mean_defined(one[name] for one in scores) for name in names}

        return resample

    def resampled(self, table: pa.Table, weights: NDArray[Any]) -> dict[str, Floats]:
        """Give `pooled` of b resamples; `weights` (b, n) says how often each row was drawn."""
        if weights.ndim != 2 or weights.shape[1] != table.num_rows:
            raise DataError(f"Expected weights of shape (b, {table.num_rows}), got {weights.shape}.")
        resample = self.resampler(table)
        size = max(1, CHUNK // max(table.num_rows, len(self.label_names)))
        chunks = [
            resample(weights[start : start + size].astype(np.float64))
            for start in range(0, len(weights), size)
        ]
        return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in self.higher_is_better}

    def pooled(self, table: pa.Table) -> Scores:
        """Score the rows of all folds together."""
        return self._plain(self.resampled(table, np.ones((1, table.num_rows))))

    def of_one_repeat(self, table: pa.Table) -> Scores:
        """Score the rows of one repeat, or of one fold; they need no columns that tell."""
        resample = self._resampler_of_repeat(table, self.higher_is_better)
        return self._plain(resample(np.ones((1, table.num_rows))))

    def _plain(self, scores: Mapping[str, Floats]) -> Scores:
        return {n: None if np.isnan(scores[n][0]) else float(scores[n][0]) for n in self.higher_is_better}


def class_ratios(columns: Iterable[tuple[str, Any, Any, Any]], table: pa.Table) -> list[ClassScores]:
    """Give precision, recall, F1 and support of each class, from names, hits, guesses and truths."""
    num_repeats = len(pc.unique(column_of(table, "repeat")))
    return [
        ClassScores(
            name,
            **metrics.ratios(hits, predicted, support),
            support=round(int(support) / num_repeats),
        )
        for name, hits, predicted, support in columns
    ]


def column_of(table: pa.Table, name: str) -> pa.ChunkedArray:
    """Give a column of the predictions, which must be there and whole."""
    if name not in table.column_names:
        raise DataError(f"No column {name!r} in the predictions; they have {', '.join(table.column_names)}.")
    column = table.column(name)
    if column.null_count:
        raise DataError(f"Column {name!r} of the predictions has {column.null_count} empty entries.")
    return column


def array_of(table: pa.Table, name: str) -> NDArray[Any]:
    """Give such a column as an array."""
    array: NDArray[Any] = column_of(table, name).to_numpy()
    return array


def rows_at(table: pa.Table, rows: NDArray[np.intp]) -> pa.Table:
    """Take rows of a table by their numbers; those that follow each other are not copied."""
    span = _span(rows)
    return table.slice(span.start, len(rows)) if isinstance(span, slice) else table.take(rows)


def _span(rows: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """Row numbers as a slice where they follow each other."""
    if not len(rows) or rows[-1] - rows[0] + 1 != len(rows) or (np.diff(rows) != 1).any():
        return rows
    return slice(int(rows[0]), int(rows[-1]) + 1)


def checked_names(label_names: Sequence[str]) -> tuple[str, ...]:
    """Accept two or more different label names."""
    names = tuple(label_names)
    if len(names) < 2 or len(set(names)) < len(names):
        raise ConfigError(
            f"label_names must be two or more different names, got {', '.join(names) or 'none'}."
        )
    return names


def refuse_folds(table: pa.Table) -> None:
    """Stop on the rows of several folds."""
    columns = [name for name in ("repeat", "fold") if name in table.column_names]
    if any(len(pc.unique(table[name])) > 1 for name in columns):
        num_folds = table.select(columns).group_by(columns).aggregate([]).num_rows
        raise DataError(
            f"score() takes the rows of one fold, got {num_folds} folds. Use score_folds() or pooled()."
        )


def _refuse_twice(table: pa.Table) -> None:
    """Stop on rows that several processes padded their last batch with, or a fold that was read twice."""
    repeats, ids = array_of(table, "repeat"), array_of(table, "row_id")
    num_pairs = sum(len(np.unique(ids[repeats == repeat])) for repeat in np.unique(repeats))
    if num_pairs < table.num_rows:
        raise DataError(
            f"{table.num_rows - num_pairs} of {table.num_rows} predictions are for a row that has one "
            "already in the same repeat. Keep one for each row and repeat."
        )
