"""Find columns of a table that each tell the label alone: they may have been written after it was known."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.data.labelled import LabelledData

_NEARLY = 0.98  # of the labels
_OF_ERRORS = 0.2  # of those that the commonest label makes
_FOLDS, _ROWS_A_LEAF = 5, 2
_FEWEST_ROWS = 20


@dataclass(frozen=True)
class Telling:
    """A column that nearly tells the label.

    Attributes:
        name: Of the column.
        right: Share of the labels that a tree on it alone tells, in rows that it did not learn from.
        commonest: Share of the commonest label.
    """

    name: str
    right: float
    commonest: float


def telling_columns(data: LabelledData) -> tuple[Telling, ...]:
    """The columns of the table by each of which a decision tree tells nearly all labels.

    Numbers count by their ranges, as folds are balanced by them.
    """
    table = data.input.table
    if table is None or len(data.rows) < _FEWEST_ROWS:
        return ()
    _, counts = data.target.tabled(data.rows["label"][:])
    labels, sizes = np.unique(counts, axis=0, return_inverse=True, return_counts=True)[1:]
    commonest = float(sizes.max() / len(labels))
    found = (Telling(name, _right(numbers, labels), commonest) for name, numbers in _columns(data))
    return tuple(
        one for one in found if one.right >= _NEARLY and 1 - one.right <= _OF_ERRORS * (1 - commonest)
    )


def _columns(data: LabelledData) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The numbers that each column of the table becomes, (n, w)."""
    table = data.input.table
    assert table is not None  # the caller looked
    rows = data.input.table_values(data.rows)
    numbers, start = np.asarray(table.encode(rows)["table"], np.float32), 0
    for column in table.columns:
        yield column.name, numbers[:, start : start + column.width]
        start += column.width


def _right(numbers: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Share of labels that a tree tells of rows that it has not seen."""
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(min_samples_leaf=_ROWS_A_LEAF, random_state=0)
    folds = KFold(_FOLDS, shuffle=True, random_state=0)
    return float((cross_val_predict(tree, numbers, labels.ravel(), cv=folds) == labels.ravel()).mean())
