"""Scores of grades: whole numbers in order, learned as a number that is then rounded or cut into them."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.scores.cutting import Cut, Cutting
from hf_transfer.scores.number_scorer import NumberScorer, numbers_of
from hf_transfer.scores.scorer import Floats, Resampler, array_of
from hf_transfer.scores.statistics.counts import divide

_SWEEPS = 50  # over all cut points; a few are enough


class GradeScorer(NumberScorer):
    """The scores of a number, and quadratic kappa and accuracy of grades, pooled over folds.

    A grade is the column `grade` where there is one, else the nearest whole number.
    """

    higher_is_better: Mapping[str, bool] = {
        **NumberScorer.higher_is_better,
        "quadratic_kappa": True,
        "accuracy": True,
    }
    ranges: Mapping[str, tuple[float, float]] = {**NumberScorer.ranges, "quadratic_kappa": (-1.0, 1.0)}

    @property
    def cutting(self) -> Cutting:
        """Cut points between the grades, for the quadratic kappa."""
        return _GradeCutting()

    def _resampler_of_repeat(self, table: pa.Table, names: Collection[str]) -> Resampler:
        of_numbers = super()._resampler_of_repeat(table, names)
        label, grade = grades_of(table)

        def resample(weights: Floats) -> dict[str, Floats]:
            of_grades = {
                "quadratic_kappa": quadratic_kappa(label, grade, weights),
                "accuracy": divide(weights @ (label == grade), weights.sum(axis=1)),
            }
            return of_numbers(weights) | of_grades

        return resample


class _GradeCutting:
    """Cut points between grades, the lowest of which takes what is below all."""

    metrics: Sequence[str] = ("quadratic_kappa", "accuracy")

    def plain(self, table: pa.Table) -> list[Cut]:
        """Half way between neighbours."""
        grades = np.unique(numbers_of(table, "label", 1))
        return _points(grades, (grades[:-1] + grades[1:]) / 2)

    def fit(self, table: pa.Table) -> list[Cut]:
        """Those of the highest quadratic kappa that moving one at a time leads to."""
        label, prediction = (numbers_of(table, name, 1)[:, 0] for name in ("label", "prediction"))
        grades = np.unique(label)
        return _points(grades, best_cuts(prediction, label, grades))

    def merits(self, table: pa.Table) -> Floats:
        """The quadratic kappa of all rows."""
        label, grade = grades_of(table)
        return quadratic_kappa(label, grade, np.ones((1, len(label))))

    def decide(self, table: pa.Table, points: Sequence[Cut]) -> pa.Table:
        """With a column `grade`."""
        grades = cut_into(numbers_of(table, "prediction", 1)[:, 0], points)
        return table.append_column("grade", pa.array(grades))


def grades_of(table: pa.Table) -> tuple[Floats, Floats]:
    """True and predicted grade of each row, (n,) both."""
    label = numbers_of(table, "label", 1)[:, 0]
    if "grade" in table.column_names:
        return label, array_of(table, "grade").astype(np.float64)
    return label, np.rint(numbers_of(table, "prediction", 1)[:, 0])


def cut_into(predictions: Floats, points: Sequence[Cut]) -> Floats:
    """The grade of each predicted number, (n,)."""
    grades = np.array([float(point.name) for point in points])
    values = np.array([point.value for point in points[1:]], dtype=np.float64)
    found: Floats = grades[np.searchsorted(values, predictions, side="right")]
    return found


def quadratic_kappa(references: Floats, grades: Floats, weights: Floats) -> Floats:
    """Cohen's kappa with squared distances, (b,), of rows that count as often as weights (b, n) say.

    One less the mean squared distance over that of grades and labels which know nothing of each other.
    """
    total = weights.sum(axis=1)
    distance, squares = weights @ (references - grades) ** 2, weights @ (references**2 + grades**2)
    by_chance = squares - 2 * divide((weights @ references) * (weights @ grades), total)
    return 1 - divide(distance, np.where(by_chance > 1e-12 * squares, by_chance, 0.0))


def best_cuts(predictions: Floats, labels: Floats, grades: Floats) -> Floats:
    """Cut points between grades with the highest quadratic kappa, by moving one at a time to its best place.

    Args:
        predictions: (n,).
        labels: (n,), each one of `grades`.
        grades: In ascending order, (g,).

    Returns:
        (g - 1,), ascending; a prediction from a cut on is of the grade above it.
    """
    order = np.argsort(predictions, kind="stable")
    x, sums = predictions[order], np.concatenate([[0.0], np.cumsum(labels[order])])
    middles = (grades[:-1] + grades[1:]) / 2
    allowed = np.concatenate([[0], 1 + np.flatnonzero(np.diff(x) > 0), [len(x)]])
    places = np.searchsorted(x, middles)
    for _ in range(_SWEEPS):
        before = places.copy()
        for j in range(len(places)):
            places[j] = _best_place(places, j, allowed, sums, grades, float((labels**2).sum()))
        if np.array_equal(before, places):
            break
    ends = np.concatenate([[-np.inf], x, [np.inf]])
    cuts = np.where(ends[places] == -np.inf, np.minimum(middles, x[0]), (ends[places] + ends[places + 1]) / 2)
    cuts = np.where(cuts == np.inf, np.maximum(middles, np.nextafter(x[-1], np.inf)), cuts)
    found: Floats = np.maximum.accumulate(cuts)
    return found


def _best_place(
    places: NDArray[np.int64],
    j: int,
    allowed: NDArray[np.int64],
    sums: Floats,
    grades: Floats,
    squares: float,
) -> int:
    """Where one cut gives the highest kappa while the others stay; where it is, if no other is better."""
    num_rows = len(sums) - 1
    ends = np.concatenate([[0], places, [num_rows]])
    low, high = ends[j], ends[j + 2]
    tried = np.append(allowed[(allowed >= low) & (allowed <= high)], places[j])
    below, above = grades[j], grades[j + 1]
    rest = np.delete(np.arange(len(grades)), [j, j + 1])
    counts, of_labels = np.diff(ends)[rest], np.diff(sums[ends])[rest]
    total = counts @ grades[rest] + below * (tried - low) + above * (high - tried)
    own = counts @ grades[rest] ** 2 + below**2 * (tried - low) + above**2 * (high - tried)
    product = of_labels @ grades[rest]
    product = product + below * (sums[tried] - sums[low]) + above * (sums[high] - sums[tried])
    by_chance = squares + own - 2 * sums[-1] * total / num_rows
    kappa = 1 - divide(squares + own - 2 * product, np.where(by_chance > 0, by_chance, 0.0))
    kappa = np.nan_to_num(kappa, nan=-np.inf)
    best = int(kappa.argmax())
    return int(tried[best] if kappa[best] > kappa[-1] + 1e-12 else places[j])


def _points(grades: Floats, cuts: Floats) -> list[Cut]:
    names = [f"{grade:g}" for grade in grades.tolist()]
    return [Cut(name, value) for name, value in zip(names, [None, *cuts.tolist()], strict=True)]
