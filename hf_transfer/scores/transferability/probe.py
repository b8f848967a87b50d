"""Out-of-fold predictions of a probe: scores of every class for each row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError
from hf_transfer.folds import FoldPlan

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
        found = np.full(num_rows, -1, np.int64)
        for (_, valid), classes in zip(self.splits, self.predictions, strict=True):
            fresh = found[valid] < 0
            found[valid[fresh]] = classes[fresh]
        return found


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


def checked(features: ArrayLike, labels: ArrayLike, splits: Sequence[Split]) -> tuple[Any, Ints]:
    """Features (n, d) and class numbers (n,) as arrays.

    Raises:
        DataError: If they do not fit each other, a feature is not finite, or a fold has nothing to
            learn from or to score.
    """
    table, classes = checked_rows(features, labels)
    if not splits or any(not len(train) or not len(valid) for train, valid in splits):
        raise DataError("Every fold needs rows to learn from and rows to score. Take fewer folds.")
    return table, classes


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
