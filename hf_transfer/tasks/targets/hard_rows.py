"""Which rows a run finds hardest, and which labels look wrong: from out-of-fold predictions alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import expit

from hf_transfer import _guard  # noqa: F401
from hf_transfer.scores.class_scorer import ClassificationScorer
from hf_transfer.scores.metrics import row_losses
from hf_transfer.scores.set_scorer import LabelSetScorer
from hf_transfer.scores.tag_scorer import entity_spans

Floats = NDArray[np.float64]

_HALF = 0.5
MOST_HARD = 12  # rows in one list; how many there are is told


@dataclass(frozen=True)
class HardRow:
    """A row, its label, what was predicted instead, and for classes the probabilities of both.

    Attributes:
        row_id: What identifies it.
        label: Name of its label.
        other: Name of the class that was predicted, or that the label is suspected to hide.
        label_probability: Out-of-fold, the mean over repeats; None where labels are not one class.
        other_probability: The same of the other class.
        loss: -ln of `label_probability` in each repeat, the mean; of numbers, how far off.
    """

    row_id: Any
    label: str
    other: str
    label_probability: float | None
    other_probability: float | None
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
    """What a run finds hard: rows, or sentences of tags.

    Attributes:
        hardest: The rows to look at.
        about: How they were chosen, and what is shown of them; without the full stop.
        measured: What `loss` is called.
        suspected: Rows whose label is in doubt.
        num_suspected: How many of them there are.
        num_wrong: Rows that were wrong.
        sentences: With wrong mentions.
    """

    hardest: Sequence[HardRow] = ()
    about: str = (
        "The rows that were wrong with the highest loss, by models that never saw them. Below each class "
        "stands its probability"
    )
    measured: str = "Loss"
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
        ids, of_row = _numbered(table)
        counts = np.bincount(of_row)
        values = np.zeros((len(ids), len(label_names)))
        np.add.at(values, of_row, probabilities)
        losses = np.bincount(of_row, row_losses(labels, probabilities)) / counts
        of_labels = np.zeros(len(ids), np.int64)
        of_labels[of_row] = labels
        return cls(ids, of_labels, values / counts[:, None], losses)

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
    return HardRows(
        hardest=wrong[:MOST_HARD],
        suspected=suspected[:MOST_HARD],
        num_suspected=len(suspected),
        num_wrong=len(wrong),
    )


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


def farthest_rows(table: pa.Table, names: Sequence[str]) -> HardRows:
    """Find the rows whose number was missed by most, with the mean prediction over repeats.

    Of several numbers the mean distance counts, each in units of its deviation.
    """
    ids, of_row = _numbered(table)
    label, prediction = (
        np.asarray(table[name].to_pylist(), np.float64).reshape(-1, len(names))
        for name in ("label", "prediction")
    )
    mean, truth = np.zeros((len(ids), len(names))), np.zeros((len(ids), len(names)))
    np.add.at(mean, of_row, prediction / np.bincount(of_row)[of_row][:, None])
    truth[of_row] = label
    units = np.maximum(truth.std(axis=0), np.finfo(float).tiny) if len(names) > 1 else 1.0
    missed = (np.abs(mean - truth) / units).mean(axis=1)
    order = np.argsort(-missed, kind="stable")[:MOST_HARD].tolist()

    def shown(numbers: Floats) -> str:
        cells = [f"{number:.6g}" for number in numbers]
        pairs = zip(names, cells, strict=True)
        return cells[0] if len(names) == 1 else ", ".join(f"{name} {cell}" for name, cell in pairs)

    rows = [HardRow(ids[i], shown(truth[i]), shown(mean[i]), None, None, float(missed[i])) for i in order]
    about = "The rows whose number was missed by most, with what models predicted that never saw them"
    if len(names) > 1:
        about += "; of several numbers the mean counts, each in units of its standard deviation"
    return HardRows(hardest=rows, about=about, measured="Off by")


def hardest_sets(table: pa.Table, label_names: Sequence[str]) -> HardRows:
    """Find the rows with the highest out-of-fold loss, of those that were wrong on some label."""
    scorer = LabelSetScorer(label_names)
    ids, of_row = _numbered(table)
    counts = np.bincount(of_row)
    labels, shares = scorer.marks(table)[0], expit(scorer.logits(table))
    losses = -np.log(np.maximum(np.where(labels, shares, 1 - shares), np.finfo(np.float64).tiny))
    mean = np.zeros((len(ids), len(label_names)))
    np.add.at(mean, of_row, shares)
    mean /= counts[:, None]
    truth = np.zeros(mean.shape, bool)
    truth[of_row] = labels
    loss = np.bincount(of_row, losses.sum(axis=1)) / counts
    guessed = mean >= _HALF
    wrong = np.flatnonzero((guessed != truth).any(axis=1))
    order = wrong[np.argsort(-loss[wrong], kind="stable")][:MOST_HARD].tolist()

    def named(marks: NDArray[np.bool_]) -> str:
        return ", ".join(label_names[i] for i in np.flatnonzero(marks).tolist()) or "none"

    rows = [HardRow(ids[i], named(truth[i]), named(guessed[i]), None, None, float(loss[i])) for i in order]
    about = "The rows with a wrong label and the highest loss over all labels, by models that never saw them"
    return HardRows(hardest=rows, about=about, num_wrong=len(wrong))


def _numbered(table: pa.Table) -> tuple[list[Any], NDArray[np.int64]]:
    """The ids of the rows, each once, and the place of each prediction's among them."""
    places: dict[Any, int] = {}
    of_row = [places.setdefault(row, len(places)) for row in table["row_id"].to_pylist()]
    return list(places), np.asarray(of_row, np.int64)


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
