"""Scores of entities in tagged words."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pyarrow as pa

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.scores import metrics
from hf_transfer.scores.scorer import (
    ClassScores,
    Floats,
    Ids,
    Resampler,
    Scorer,
    Scores,
    checked_names,
    class_ratios,
    column_of,
    refuse_folds,
)
from hf_transfer.scores.shuffled import tags_again
from hf_transfer.scores.statistics.counts import divide


class TaggingScorer(Scorer):
    """Score entities of tagged words, from the columns `labels` and `predictions`."""

    primary_metric = "f1"
    share_right = "accuracy"
    unit = "sentence"
    higher_is_better: Mapping[str, bool] = {"precision": True, "recall": True, "f1": True, "accuracy": True}

    def __init__(self, label_names: Sequence[str]) -> None:
        self.label_names = checked_names(label_names)
        if not all(metrics.TAG.fullmatch(name) for name in self.label_names):
            raise ConfigError(
                f"label_names must be O, B-type and I-type, got {', '.join(self.label_names[:10])}."
            )
        self.types = tuple(dict.fromkeys(name[2:] for name in self.label_names if name != "O"))

    def score(self, table: pa.Table) -> Scores:
        """Score the rows of one fold, by seqeval in strict IOB2."""
        refuse_folds(table)
        scores = metrics.entity_scores(*self._tags(table))
        return {name: scores[name] for name in self.higher_is_better}

    def shuffled(self, table: pa.Table, seed: int) -> pa.Table:
        """Put the entities of each sentence at other places."""
        return tags_again(table, seed)

    def per_class(self, table: pa.Table) -> list[ClassScores]:
        """Give precision, recall, F1 and support of each entity type, in the order of the tags."""
        counts = self._entity_counts(*self._tags(table)).sum(axis=0)
        return class_ratios(zip(self.types, *counts.T, strict=True), table)

    def confusion(self, table: pa.Table) -> None:
        """Return None: entities are found or missed, rarely mistaken for one another."""
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
        rows = {name: column_of(table, name).to_pylist() for name in ("labels", "predictions")}
        references, predictions = metrics.tag_columns(rows["labels"], rows["predictions"])
        tags = {tag for row in [*references, *predictions] for tag in row}
        if not tags <= set(self.label_names):
            raise DataError(
                f"The predictions hold {sorted(tags.difference(self.label_names))}; "
                f"label_names has {', '.join(self.label_names[:10])}."
            )
        return references, predictions


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
