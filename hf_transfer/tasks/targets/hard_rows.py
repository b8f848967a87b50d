"""Which rows a run finds hardest, and which labels look wrong: from out-of-fold predictions alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.scores.class_scorer import ClassificationScorer
from hf_transfer.scores.metrics import row_losses
from hf_transfer.scores.tag_scorer import entity_spans

Floats = NDArray[np.float64]

MOST_HARD = 12  # rows in one list; how many there are is told


@dataclass(frozen=True)
class HardRow:
    """A row, its label, what was predicted instead, and the probabilities of both.

    Attributes:
        row_id: What identifies it.
        label: Name of its label.
        other: Name of the class that was predicted, or that the label is suspected to hide.
        label_probability: Out-of-fold, the mean over repeats.
        other_probability: The same of the other class.
        loss: -ln of `label_probability` in each repeat, the mean.
    """

    row_id: Any
    label: str
    other: str
    label_probability: float
    other_probability: float
    loss: float


@dataclass(frozen=True)
class Piece:
    """Words in a row that are one mention, or none: `kind` is right, missed, spurious or empty."""

    words: str
    kind: str
    name: str


@dataclass(frozen=True)
class WrongSentence:
    """A sentence with mentions that were missed or made up, cut into pieces."""

    row_id: Any
    num_wrong: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class HardRows:
    """What a run finds hard: rows of classes, or sentences of tags."""

    hardest: Sequence[HardRow] = ()
    suspected: Sequence[HardRow] = ()
    num_suspected: int = 0
    num_wrong: int = 0
    sentences: Sequence[WrongSentence] = ()


@dataclass(frozen=True)
class RowProbabilities:
    """Out-of-fold probabilities of each row, averaged over repeats.

    Attributes:
        row_ids: (n,), each once.
        labels: Ids, (n,).
        values: (n, c).
        losses: (n,), the mean over repeats of -ln of the label's probability.
    """

    row_ids: list[Any]
    labels: NDArray[np.int64]
    values: Floats
    losses: Floats

    @classmethod
    def of(cls, table: pa.Table, label_names: Sequence[str]) -> "RowProbabilities":
        """Read the predictions of a run on classes."""
        labels, probabilities = ClassificationScorer(label_names).labels_and_probabilities(table)
        places: dict[Any, int] = {}
        of_row = np.asarray([places.setdefault(row, len(places)) for row in table["row_id"].to_pylist()])
        counts = np.bincount(of_row)
        values = np.zeros((len(places), len(label_names)))
        np.add.at(values, of_row, probabilities)
        losses = np.bincount(of_row, row_losses(labels, probabilities)) / counts
        of_labels = np.zeros(len(places), np.int64)
        of_labels[of_row] = labels
        return cls(list(places), of_labels, values / counts[:, None], losses)

    def row(self, place: int, other: int, names: Sequence[str]) -> HardRow:
        """Describe one row and the class that contests its label."""
        label = int(self.labels[place])
        return HardRow(
            row_id=self.row_ids[place],
            label=names[label],
            other=names[other],
            label_probability=float(self.values[place, label]),
            other_probability=float(self.values[place, other]),
            loss=float(self.losses[place]),
        )


def hard_rows(predictions: pa.Table, label_names: Sequence[str]) -> HardRows:
    """Find the rows of classes to look at: the first of those that were wrong, and of those suspected."""
    rows = RowProbabilities.of(predictions, label_names)
    suspected, wrong = suspected_labels(rows, label_names), hardest_rows(rows, label_names)
    return HardRows(wrong[:MOST_HARD], suspected[:MOST_HARD], len(suspected), len(wrong))


def hardest_rows(rows: RowProbabilities, label_names: Sequence[str]) -> list[HardRow]:
    """Give the rows that were wrong, that with the highest out-of-fold loss first."""
    order = np.argsort(-rows.losses, kind="stable")
    predicted = rows.values.argmax(axis=1)
    wrong = [place for place in order.tolist() if predicted[place] != rows.labels[place]]
    return [rows.row(place, int(predicted[place]), label_names) for place in wrong]


def suspected_labels(rows: RowProbabilities, label_names: Sequence[str]) -> list[HardRow]:
    """Give rows whose label another class claims; a suspicion, most suspected first.

    A class's self-confidence is the mean out-of-fold probability of it among the rows labelled so. A
    label is suspected when its probability lies below the self-confidence of its class while that of
    another class reaches its own.

    Args:
        rows: Probabilities of each row.
        label_names: Names of the classes, in the order of their ids.

    References:
        Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels",
        Journal of Artificial Intelligence Research 70, 2021.
    """
    n, c = rows.values.shape
    given = rows.values[np.arange(n), rows.labels]
    totals, counts = np.bincount(rows.labels, given, minlength=c), np.bincount(rows.labels, minlength=c)
    confidence = np.where(counts > 0, totals / np.maximum(counts, 1), np.inf)  # an absent class claims none
    claims = rows.values >= confidence
    claims[np.arange(n), rows.labels] = False
    others = np.where(claims, rows.values, -1.0).argmax(axis=1)
    suspected = np.flatnonzero(claims.any(axis=1) & (given < confidence[rows.labels]))
    margins = rows.values[suspected, others[suspected]] - given[suspected]
    order = suspected[np.argsort(-margins, kind="stable")]
    return [rows.row(place, int(others[place]), label_names) for place in order.tolist()]


def wrong_sentences(table: pa.Table) -> list[WrongSentence]:
    """Give the sentences with wrong mentions in the first repeat, most first, in pieces that say which."""
    first = table.filter(table["repeat"].to_numpy() == min(table["repeat"].to_pylist()))
    columns = (first[name].to_pylist() for name in ("row_id", "tokens", "labels", "predictions"))
    found = []
    for row_id, words, labels, predictions in zip(*columns, strict=True):
        true, guessed = entity_spans(labels), entity_spans(predictions)
        if num_wrong := len(true ^ guessed):
            found.append(WrongSentence(row_id, num_wrong, tuple(_pieces(words, true, guessed))))
    return sorted(found, key=lambda one: -one.num_wrong)


def _pieces(
    words: Sequence[str], true: set[tuple[int, int, str]], guessed: set[tuple[int, int, str]]
) -> Iterator[Piece]:
    """Cut a sentence at its mentions. Where a missed and a spurious one overlap, each is told in full."""
    marks = [(*span, "right" if span in guessed else "missed") for span in true]
    marks += [(*span, "spurious") for span in guessed - true]
    place = 0
    for start, end, name, kind in sorted(marks):
        if start > place:
            yield Piece(" ".join(words[place:start]), "", "")
        yield Piece(" ".join(words[start:end]), kind, name)
        place = max(place, end)
    if place < len(words):
        yield Piece(" ".join(words[place:]), "", "")
