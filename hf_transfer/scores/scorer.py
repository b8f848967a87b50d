"""From a table of predictions to scores, and to the same scores of many resamples at once.

A score over all folds pools counts (accuracy, F1, entities), as folds are too small for a mean of
ratios. The area under the ROC curve is averaged over folds, as scores of different models share no
scale. Several repeats are averaged. Nothing here imports torch.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.scores import metrics
from hf_transfer.scores.statistics import (
    apply_temperature,
    bootstrap_interval,
    corrected_error,
    corrected_resampled_t,
    divide,
    mean_defined,
    roc_curves,
    scores_from_counts,
)

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]
Scores = dict[str, float | None]
Resampler = Callable[[Floats], dict[str, Floats]]

CHUNK = 2_000_000  # weights worked on at a time: 16 MB an array
REPEATS_FOR_HEADLINE = 3  # from here on, the spread over folds is known well enough to go by it alone

# What a score can be at most and at least, where it is not 0 to 1.
_RANGES = {"mcc": (-1.0, 1.0), "log_loss": (0.0, np.inf)}


class Scorer(Protocol):
    """How predictions of one kind of task are scored. Undefined is None, and NaN in arrays."""

    primary_metric: str
    higher_is_better: Mapping[str, bool]
    unit: str
    label_names: tuple[str, ...]

    def score(self, table: pa.Table) -> Scores:
        """Score the rows of one fold."""

    def per_class(self, table: pa.Table) -> list[dict[str, Any]]:
        """Give precision, recall, F1 and support of each class or entity type, over all folds."""

    def confusion(self, table: pa.Table) -> list[list[int]] | None:
        """Count rows by true and predicted class, over all folds and repeats."""

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
        repeats = _array(table, "repeat")
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
        scores = self.resampled(table, np.ones((1, table.num_rows)))
        return {name: None if np.isnan(values[0]) else float(values[0]) for name, values in scores.items()}


class ClassificationScorer(Scorer):
    """Score one class a row, from the columns `label`, `prediction` and `logits`."""

    primary_metric = "accuracy"
    unit = "row"
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

    def __init__(self, label_names: Sequence[str]) -> None:
        self.label_names = _checked_names(label_names)

    def score(self, table: pa.Table) -> Scores:
        """Score the rows of one fold; all that is a function of counts comes from one count."""
        _refuse_folds(table)
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

    def per_class(self, table: pa.Table) -> list[dict[str, Any]]:
        """Give precision, recall, F1 and support of each class; support counts a row once."""
        counts = np.asarray(self.confusion(table))
        columns = zip(
            self.label_names, counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1), strict=True
        )
        return _per_class(columns, table)

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
        folds = _array(table, "fold")
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
            metrics.class_ids(_array(table, name), name, allowed) for name in ("label", "prediction")
        )
        return labels, predictions

    def labels_and_probabilities(self, table: pa.Table) -> tuple[Ids, Floats]:
        """Give the true class of each row, (n,), and the probabilities of all classes, (n, c)."""
        return self._ids(table)[0], self._probabilities(table)

    def logits(self, table: pa.Table) -> Floats:
        """Read one logit for each row and class, (n, c)."""
        logits = _column(table, "logits")
        lengths = pc.unique(pc.list_value_length(logits)).to_pylist()
        if lengths != [len(self.label_names)]:
            raise DataError(
                f"Column 'logits' has {lengths} entries a row, expected {len(self.label_names)}: "
                f"one for each of {', '.join(self.label_names[:10])}."
            )
        values = pc.list_flatten(logits).to_numpy().reshape(-1, len(self.label_names))
        return metrics.class_scores(values, "logits")

    def _probabilities(self, table: pa.Table) -> Floats:
        return apply_temperature(self.logits(table), 1)


class TaggingScorer(Scorer):
    """Score entities of tagged words, from the columns `labels` and `predictions`."""

    primary_metric = "f1"
    unit = "sentence"
    higher_is_better: Mapping[str, bool] = {"precision": True, "recall": True, "f1": True, "accuracy": True}

    def __init__(self, label_names: Sequence[str]) -> None:
        self.label_names = _checked_names(label_names)
        if not all(metrics.TAG.fullmatch(name) for name in self.label_names):
            raise ConfigError(
                f"label_names must be O, B-type and I-type, got {', '.join(self.label_names[:10])}."
            )
        self.types = tuple(dict.fromkeys(name[2:] for name in self.label_names if name != "O"))

    def score(self, table: pa.Table) -> Scores:
        """Score the rows of one fold, by seqeval in strict IOB2."""
        _refuse_folds(table)
        scores = metrics.entity_scores(*self._tags(table))
        return {name: scores[name] for name in self.higher_is_better}

    def per_class(self, table: pa.Table) -> list[dict[str, Any]]:
        """Give precision, recall, F1 and support of each entity type, in the order of the tags."""
        counts = self._entity_counts(*self._tags(table)).sum(axis=0)
        return _per_class(zip(self.types, *counts.T, strict=True), table)

    def confusion(self, table: pa.Table) -> None:
        """Give None: entities are found or missed, and few are mistaken for one another."""
        return None

    def _resampler_of_repeat(self, table: pa.Table, names: Collection[str]) -> Resampler:
        references, predictions = self._tags(table)
        entities = self._entity_counts(references, predictions).sum(axis=1)
        words = [
            (sum(a == b for a, b in zip(*row, strict=True)), len(row[0]))
            for row in zip(references, predictions, strict=True)
        ]
        counts = np.hstack([entities, np.asarray(words)]).astype(np.float64)

        def resample(weights: Floats) -> dict[str, Floats]:
            hits, predicted, support, same, total = (weights @ counts).T
            return {
                "precision": divide(hits, predicted),
                "recall": divide(hits, support),
                "f1": divide(2 * hits, predicted + support),
                "accuracy": divide(same, total),
            }

        return resample

    def _entity_counts(self, references: list[list[str]], predictions: list[list[str]]) -> Ids:
        """Count entities found, predicted and true: (n, number of types, 3)."""
        place = {name: i for i, name in enumerate(self.types)}
        counts = np.zeros((len(references), len(self.types), 3), dtype=np.int64)
        for row, (reference, prediction) in enumerate(zip(references, predictions, strict=True)):
            true, predicted = entity_spans(reference), entity_spans(prediction)
            for column, spans in enumerate((true & predicted, predicted, true)):
                for _, _, name in spans:
                    counts[row, place[name], column] += 1
        return counts

    def _tags(self, table: pa.Table) -> tuple[list[list[str]], list[list[str]]]:
        rows = {name: _column(table, name).to_pylist() for name in ("labels", "predictions")}
        references, predictions = metrics.tag_columns(rows["labels"], rows["predictions"])
        tags = {tag for row in [*references, *predictions] for tag in row}
        if not tags <= set(self.label_names):
            raise DataError(
                f"The predictions hold {sorted(tags.difference(self.label_names))}; "
                f"label_names has {', '.join(self.label_names[:10])}."
            )
        return references, predictions


def scorer_of(table: pa.Table, label_names: Sequence[str]) -> Scorer:
    """Give what scores predictions of this kind: a class a row, or a tag a word."""
    kind = TaggingScorer if "predictions" in table.column_names else ClassificationScorer
    return kind(label_names)


def score_folds(table: pa.Table, scorer: Scorer) -> dict[tuple[int, int], Scores]:
    """Score each fold by itself; the keys are (repeat, fold), in order."""
    places = list(zip(_array(table, "repeat").tolist(), _array(table, "fold").tolist(), strict=True))
    rows: dict[tuple[int, int], list[int]] = {place: [] for place in sorted(set(places))}
    for row, place in enumerate(places):
        rows[place].append(row)
    return {place: scorer.score(table.take(chosen)) for place, chosen in rows.items()}


def summarise(
    fold_scores: Sequence[Scores],
    table: pa.Table,
    scorer: Scorer,
    *,
    seed: int,
    num_folds: float | None = None,
) -> dict[str, dict[str, Any]]:
    """Give each score's mean and standard deviation over folds, pooled value, and two intervals.

    `interval` is the optimistic one: a bootstrap over rows, of the pooled score, with the models as
    they are. `conservative_interval` is of the mean over folds and repeats, and allows for other
    training sets too: a corrected resampled t, cut to what the score can be. `headline` says what to
    go by: "conservative" from three repeats on, else "both".

    Folds whose score is undefined are left out; `num_folds` says how many counted. Scores that the
    scorer does not know, such as those of a metric of the Hub, get no pooled score and no bootstrap.

    Args:
        fold_scores: Scores of each fold that finished.
        table: Out-of-fold predictions of the same folds.
        scorer: What made the scores.
        seed: Seed of the bootstrap.
        num_folds: Folds of a repeat, see `effective_folds`; counted in the table if not given.
    """
    # In this order a unit's first row lies in the first repeat, whose folds the bootstrap keeps.
    table = _by_fold(table)
    unit, units = sampling_units(table, scorer)
    intervals = bootstrap_interval(scorer.resampler(table), _array(table, "fold"), units=units, seed=seed)
    pooled = scorer.pooled(table)
    num_folds = num_folds or max(2, int(_array(table, "fold").max()) + 1)
    often = len(pc.unique(_column(table, "repeat"))) >= REPEATS_FOR_HEADLINE
    summary = {}
    for name in dict.fromkeys(
        [*scorer.higher_is_better, *(name for scores in fold_scores for name in scores)]
    ):
        interval, values = intervals.get(name), [scores.get(name) for scores in fold_scores]
        known = (-np.inf, np.inf) if name not in scorer.higher_is_better else _RANGES.get(name, (0.0, 1.0))
        conservative = _conservative(values, num_folds, *known)
        summary[name] = {
            **over_folds(values),
            "pooled": pooled.get(name),
            "interval": None if interval is None else list(interval),
            "interval_kind": f"bootstrap over out-of-fold {unit}s, within folds",
            "unit": unit,
            "conservative_interval": conservative,
            "headline": "conservative" if often and conservative else "both",
        }
    return summary


def sampling_units(table: pa.Table, scorer: Scorer) -> tuple[str, NDArray[Any]]:
    """Say what is drawn together, a word and an entry a row: the group, or the row of all repeats."""
    unit, column = ("group", "unit") if "unit" in table.column_names else (scorer.unit, "row_id")
    return unit, _array(table, column)


def _conservative(
    scores: Sequence[float | None], num_folds: float, lowest: float, highest: float
) -> list[float] | None:
    """Interval of the mean over folds; None for fewer than two values, or two or more that are all equal."""
    values = [score for score in scores if score is not None]
    if len(values) < 2 or corrected_error(values, num_folds) == 0:
        return None  # an interval of no width would be a lie
    low, high = corrected_resampled_t(values, num_folds).interval
    return [max(low, lowest), min(high, highest)]


def over_folds(scores: Sequence[float | None]) -> dict[str, Any]:
    """Mean and standard deviation of a score, and how many folds have it."""
    values = [float(score) for score in scores if score is not None]
    return {
        "mean": float(np.mean(values)) if values else None,
        "std": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "num_folds": len(values),
    }


def entity_spans(tags: Sequence[str]) -> set[tuple[int, int, str]]:
    """Find the entities of a row: a B- and the I- of its type that follow it, as (start, end, type)."""
    spans = set()
    start = None
    for i, tag in enumerate([*tags, "O"]):
        if start is not None and tag != f"I-{tags[start][2:]}":
            spans.add((start, i, tags[start][2:]))
            start = None
        if tag.startswith("B-"):
            start = i
    return spans


def _per_class(columns: Iterable[tuple[str, Any, Any, Any]], table: pa.Table) -> list[dict[str, Any]]:
    num_repeats = len(pc.unique(_column(table, "repeat")))
    return [
        {
            "label": name,
            **metrics.ratios(hits, predicted, support),
            "support": round(int(support) / num_repeats),
        }
        for name, hits, predicted, support in columns
    ]


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    if name not in table.column_names:
        raise DataError(f"No column {name!r} in the predictions; they have {', '.join(table.column_names)}.")
    column = table.column(name)
    if column.null_count:
        raise DataError(f"Column {name!r} of the predictions has {column.null_count} empty entries.")
    return column


def _array(table: pa.Table, name: str) -> NDArray[Any]:
    array: NDArray[Any] = _column(table, name).to_numpy()
    return array


def _by_fold(table: pa.Table) -> pa.Table:
    """Order the rows by repeat and fold; those of a run are, and are not copied."""
    repeats, folds = _array(table, "repeat"), _array(table, "fold")
    if (np.lexsort((folds, repeats)) == np.arange(len(folds))).all():
        return table
    return table.sort_by([("repeat", "ascending"), ("fold", "ascending")])


def rows_at(table: pa.Table, rows: NDArray[np.intp]) -> pa.Table:
    """Take rows of a table by their numbers; those that follow each other are not copied."""
    span = _span(rows)
    return table.slice(span.start, len(rows)) if isinstance(span, slice) else table.take(rows)


def _span(rows: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """Row numbers as a slice where they follow each other."""
    if not len(rows) or rows[-1] - rows[0] + 1 != len(rows) or (np.diff(rows) != 1).any():
        return rows
    return slice(int(rows[0]), int(rows[-1]) + 1)


def _checked_names(label_names: Sequence[str]) -> tuple[str, ...]:
    names = tuple(label_names)
    if len(names) < 2 or len(set(names)) < len(names):
        raise ConfigError(
            f"label_names must be two or more different names, got {', '.join(names) or 'none'}."
        )
    return names


def _refuse_folds(table: pa.Table) -> None:
    columns = [name for name in ("repeat", "fold") if name in table.column_names]
    if any(len(pc.unique(table[name])) > 1 for name in columns):
        num_folds = table.select(columns).group_by(columns).aggregate([]).num_rows
        raise DataError(
            f"score() takes the rows of one fold, got {num_folds} folds. Use score_folds() or pooled()."
        )


def _refuse_twice(table: pa.Table) -> None:
    """Stop on rows that several processes padded their last batch with, or a fold that was read twice."""
    repeats, ids = _array(table, "repeat"), _array(table, "row_id")
    num_pairs = sum(len(np.unique(ids[repeats == repeat])) for repeat in np.unique(repeats))
    if num_pairs < table.num_rows:
        raise DataError(
            f"{table.num_rows - num_pairs} of {table.num_rows} predictions are for a row that has one "
            "already in the same repeat. Keep one for each row and repeat."
        )
