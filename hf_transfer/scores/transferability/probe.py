"""Out-of-fold predictions of a probe: scores of every class for each row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError
from hf_transfer.folds.plan import FoldPlan

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Split = tuple[Ints, Ints]
"""Numbers of the rows to learn from, and of those held out."""


@dataclass(frozen=True, eq=False)
class Probe:
    """Out-of-fold predictions of one probe, fold by fold.

    Attributes:
        splits: The folds, (train, valid) each.
        decisions: For each fold what speaks for each class in its held-out rows, (n_valid, c).
        criteria: For each fold how well the probe did inside the training part: lower is better, and
            comparable between features of the same rows. None where the probe has no such measure.
        settings: What was chosen inside each fold: ridge's penalty, or the layer's name.
    """

    splits: tuple[Split, ...]
    decisions: tuple[Floats, ...]
    criteria: tuple[float, ...] | None = None
    settings: tuple[Any, ...] = ()

    @property
    def predictions(self) -> tuple[Ints, ...]:
        """The highest-scoring class of each fold's held-out rows."""
        return tuple(values.argmax(axis=1) for values in self.decisions)

    def of_rows(self, num_rows: int) -> Ints:
        """Predicted class of each row, (n,); -1 if no fold holds it out.

        Where folds are repeated, it is the first repeat's.
        """
        predicted = np.full(num_rows, -1, np.int64)
        for (_, valid), classes in zip(self.splits, self.predictions, strict=True):
            fresh = predicted[valid] < 0
            predicted[valid[fresh]] = classes[fresh]
        return predicted


def splits_of(plan: FoldPlan, row_of: Ints | None = None) -> tuple[Split, ...]:
    """Row numbers of the scored folds of a plan.

    Args:
        plan: The folds of the data's rows.
        row_of: Which data row each row of the features belongs to, (m,), such as each word's sentence;
            the same rows when not given. All of a data row's features go where it goes.
    """
    splits = ((plan.train(index), plan.valid(index)) for index in plan.scored_folds)
    if row_of is None:
        return tuple((np.sort(train), np.sort(valid)) for train, valid in splits)
    return tuple((_places(row_of, train), _places(row_of, valid)) for train, valid in splits)


def choose_inside(probes: Mapping[str, Probe]) -> Probe:
    """Choose the best probe of each fold by its training part alone.

    So the result may be compared and tested as any other: nothing was chosen by what it is scored on.
    Of equals, the first.

    Raises:
        DataError: If there are none, or one has no criterion.
    """
    names = list(probes)
    if not names or any(probe.criteria is None for probe in probes.values()):
        raise DataError(f"Expected one or more probes with a criterion each, got {names or 'none'}.")
    criteria = np.array([probe.criteria for probe in probes.values()])
    best = criteria.argmin(axis=0)
    chosen = [probes[names[b]] for b in best]
    return Probe(
        splits=chosen[0].splits,
        decisions=tuple(probe.decisions[i] for i, probe in enumerate(chosen)),
        criteria=tuple(criteria.min(axis=0).tolist()),
        settings=tuple(names[b] for b in best),
    )


def checked(features: ArrayLike, labels: ArrayLike, splits: Sequence[Split]) -> tuple[Any, Any]:
    """Features (n, d) and labels as arrays, see `checked_labels`.

    Raises:
        DataError: If they do not fit each other, a feature is not finite, or a fold has nothing to
            learn from or to score.
    """
    table = checked_features(features)
    found = checked_labels(labels, len(table))
    if not splits or any(not len(train) or not len(valid) for train, valid in splits):
        raise DataError("Every fold needs rows to learn from and rows to score. Take fewer folds.")
    return table, found


def checked_labels(labels: ArrayLike, num_rows: int) -> Any:
    """Labels as an array: class numbers from 0, (n,), real numbers, (n,), or 0 and 1 for each label, (n, c).

    Raises:
        DataError: If they are something else, or not as many as there are rows.
    """
    found: Any = np.asarray(labels)
    if found.shape[:1] != (num_rows,) or found.ndim > 2 or found.dtype.kind not in "iufb":
        raise DataError(
            f"Expected a class number, a number or a line of 0 and 1 for each of {num_rows} rows, got "
            f"{found.dtype} of shape {found.shape}."
        )
    if is_classes(found) and found.size and found.min() < 0:
        raise DataError(f"Expected class numbers from 0, got {found.min()}.")
    return found.astype(np.int64) if is_classes(found) else found


def is_classes(labels: NDArray[Any]) -> bool:
    """Whether labels are class numbers, one a row."""
    return labels.ndim == 1 and labels.dtype.kind in "iu"


def targets_of(labels: NDArray[Any], num_classes: int | None = None) -> Floats:
    """What a linear model is fitted to, (n, c): indicators of classes; other labels as they are.

    Args:
        labels: From `checked_labels`.
        num_classes: Columns for classes; as many as occur when not given.
    """
    if is_classes(labels):
        return np.asarray(np.eye(num_classes or int(labels.max()) + 1)[labels], np.float64)
    return labels.astype(np.float64).reshape(len(labels), -1)


def checked_rows(features: ArrayLike, labels: ArrayLike) -> tuple[Any, Ints]:
    """Features (n, d) and class numbers from 0, (n,), as arrays.

    Raises:
        DataError: If they do not fit each other, or a feature is not finite.
    """
    table = checked_features(features)
    classes: Any = np.asarray(labels)
    if classes.shape != table.shape[:1] or classes.dtype.kind not in "iu" or classes.min() < 0:
        raise DataError(
            f"Expected a class number from 0 for each of {len(table)} rows, got {classes.dtype} of shape "
            f"{classes.shape}."
        )
    return table, classes.astype(np.int64)


def checked_features(features: ArrayLike) -> Any:
    """Features as an array (n, d).

    Raises:
        DataError: If it has no rows or columns, or a value is not finite.
    """
    table: Any = np.asarray(features)
    if table.ndim != 2 or not table.size:
        raise DataError(f"Expected features (n, d) of one or more rows and columns, got shape {table.shape}.")
    if not np.isfinite(table).all():
        raise DataError(
            f"Features must be finite; in {(~np.isfinite(table)).any(axis=1).sum()} of {len(table)} rows "
            "they are not. Compute them in float32."
        )
    return table


def _places(row_of: Ints, rows: Ints) -> Ints:
    return np.flatnonzero(np.isin(row_of, rows)).astype(np.int64)
