"""What many draws of a few labelled rows score, of stored features. numpy only."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.scores.few_rows import SOLVERS
from hf_transfer.scores.statistics import bootstrap_interval, corrected_resampled_t
from hf_transfer.scores.transferability import Measure

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Interval = tuple[float, float]

_NUMBERS_AT_ONCE = 4_000_000  # of features or answers: 32 MB an array
_NORMAL = 1.96
_SAME = 1e-9  # spread of differences that are equal but for rounding


@dataclass(frozen=True)
class DrawnScores:
    """What heads of many draws score.

    Attributes:
        draws: The score of each draw, (b,).
        interval: Of their mean: what other rows to ask and other draws would change.
    """

    draws: Floats
    interval: Interval

    @property
    def mean(self) -> float:
        """Over draws."""
        return float(np.nanmean(self.draws))

    @property
    def std(self) -> float:
        """Of one draw."""
        return float(np.nanstd(self.draws, ddof=1))

    @property
    def one_draw(self) -> Interval:
        """Where 95 % of the draws lie."""
        low, high = np.nanquantile(self.draws, [0.025, 0.975])
        return float(low), float(high)


@dataclass(frozen=True, eq=False)
class Pool:
    """Labelled rows with features, of which few are drawn to learn from; the others are asked.

    Attributes:
        features: (n, d).
        labels: Class of each row, (n,).
        units: What must not be learned from and asked at once, (n,): the group, else the row.
        measure: The score.
    """

    features: NDArray[np.floating]
    labels: Ints
    units: Ints
    measure: Measure

    @property
    def num_classes(self) -> int:
        """Number of classes, c."""
        return self.measure.num_classes

    def draws(self, most: int, num_draws: int, seed: int) -> Ints:
        """Draw rows of each class, (b, c, most), in an order whose start is the draw of fewer rows."""
        rng = np.random.Generator(np.random.PCG64(seed))
        places = (np.flatnonzero(self.labels == label) for label in range(self.num_classes))
        drawn = [rows[rng.random((num_draws, len(rows))).argsort(axis=1)[:, :most]] for rows in places]
        return np.stack(drawn, axis=1).astype(np.int64)

    def score(self, solver: str, drawn: Ints, *, seed: int) -> DrawnScores:
        """Score the heads of some draws on all rows that share no unit with theirs.

        Args:
            solver: Of `SOLVERS`.
            drawn: Rows of each class, (b, c, k).
            seed: Of the interval.
        """
        counts, of_rows = [], np.zeros((3, len(self.labels), self.num_classes))
        for part in _parts(drawn, max(self.features.shape[1] * drawn[0].size, of_rows[0].size)):
            answers = self._answers(self._decided(solver, part), part)
            counts.append(answers.sum(axis=2))
            of_rows += answers.sum(axis=1)
        scores = self.measure.of_counts(*np.concatenate(counts, axis=1))
        return DrawnScores(scores, self._interval(scores, of_rows, seed))

    def judged(self, decided: Ints, drawn: Ints) -> Floats:
        """Score what others decided, each draw on all rows that share no unit with its own, (b,).

        Args:
            decided: The class of every row by what learned from each draw, (b, n).
            drawn: Rows of each class, (b, c, k).
        """
        scores: Floats = self.measure.of_counts(*self._answers(decided, drawn).sum(axis=2))
        return scores

    def _decided(self, solver: str, drawn: Ints) -> Ints:
        """The class of every row by the head of each draw, (b, n)."""
        rows, labels = _in_line(drawn)
        heads = SOLVERS[solver](self.features[rows], labels, self.num_classes)
        return np.asarray(heads.scores(self.features).argmax(axis=2))

    def _answers(self, decided: Ints, drawn: Ints) -> Floats:
        """Right, asked and answered rows by class, (3, b, n, c)."""
        may_be_asked = self._asked(_in_line(drawn)[0])[..., None]
        classes = np.eye(self.num_classes)
        answered, asked = classes[decided] * may_be_asked, classes[self.labels] * may_be_asked
        return np.stack([answered * asked, asked, answered])

    def _asked(self, rows: Ints) -> NDArray[np.bool_]:
        """Whether each row may be asked in each draw, (b, n)."""
        seen = np.zeros((len(rows), int(self.units.max()) + 1), bool)
        np.put_along_axis(seen, self.units[rows], True, axis=1)
        return np.asarray(~seen[:, self.units])

    def _interval(self, scores: Floats, of_rows: Floats, seed: int) -> Interval:
        """The bootstrap's interval over rows, widened by what the mean over draws is off by."""
        mean = float(np.nanmean(scores))
        error = _NORMAL * float(np.nanstd(scores, ddof=1)) / np.sqrt(len(scores))

        def pooled(weights: Floats) -> Floats:
            return self.measure.of_counts(*(weights @ of_rows))

        whole = float(pooled(np.ones((1, len(self.labels))))[0])
        none = np.zeros(len(self.labels))
        found = bootstrap_interval(lambda w: {"all": pooled(w)}, none, units=self.units, seed=seed)["all"]
        below, above = (0.0, 0.0) if found is None else (whole - found[0], found[1] - whole)
        low, high = mean - np.hypot(below, error), mean + np.hypot(above, error)
        lowest, highest = self.measure.range
        return float(max(lowest, low)), float(min(highest, high))

    def episodes(
        self, solver: str, shots: int, way: int, num_episodes: int, num_asked: int, *, seed: int
    ) -> Floats:
        """Accuracy of each of many episodes, as few-shot papers count it, (e,).

        Args:
            solver: Of `SOLVERS`.
            shots: Rows of each class to learn from.
            way: Classes drawn for each.
            num_episodes: How many.
            num_asked: Rows of each class that are asked.
            seed: Of the draws.
        """
        drawn = self.draws(shots + num_asked, num_episodes, seed)
        order = np.random.Generator(np.random.PCG64(seed)).random((num_episodes, self.num_classes))
        drawn = np.take_along_axis(drawn, order.argsort(axis=1)[:, :way, None], axis=1)
        size = way * (shots + num_asked) * self.features.shape[1]
        return np.concatenate([self._episodes(solver, part, shots) for part in _parts(drawn, size)])

    def _episodes(self, solver: str, drawn: Ints, shots: int) -> Floats:
        (rows, labels), (others, wanted) = (_in_line(part) for part in np.split(drawn, [shots], axis=2))
        heads = SOLVERS[solver](self.features[rows], labels, drawn.shape[1])
        right = heads.scores(self.features[others]).argmax(axis=2) == wanted
        asked = ~(self.units[others][:, :, None] == self.units[rows][:, None]).any(axis=2)
        return np.asarray((right & asked).sum(axis=1) / np.maximum(asked.sum(axis=1), 1))


class PairedDraws(NamedTuple):
    """What one way to learn scores beside another, in the same draws."""

    mean: float
    solver_mean: float
    difference: float
    interval: Interval | None
    p: float | None


def paired_draws(scores: Floats, beside: Floats) -> PairedDraws:
    """Test whether two ways to learn score alike over other draws of the same rows, by the paired t-test.

    Args:
        scores: Of each draw, (b,).
        beside: Of the other in each, (b,).

    Returns:
        Means and test over the draws in which both have a score; no test where differences have no spread.
    """
    both = np.isfinite(scores) & np.isfinite(beside)
    differences = scores[both] - beside[both]
    mean, other = (float(one[both].mean()) if both.any() else float("nan") for one in (scores, beside))
    if len(differences) < 2 or np.ptp(differences) < _SAME:
        return PairedDraws(mean, other, mean - other, None, None)
    found = corrected_resampled_t(differences, np.inf)  # independent draws: nothing to correct
    return PairedDraws(mean, other, *found)


def _in_line(drawn: Ints) -> tuple[Ints, Ints]:
    """Rows of each draw in one line, (b, c * k), and the class of each."""
    num_draws, num_classes, shots = drawn.shape
    labels = np.repeat(np.arange(num_classes), shots)
    return drawn.reshape(num_draws, -1), np.tile(labels, (num_draws, 1))


def _parts(drawn: Ints, numbers: int) -> Iterator[Ints]:
    """Yield draws in parts, where each draw needs so many numbers at once."""
    size = max(1, _NUMBERS_AT_ONCE // numbers)
    yield from (drawn[start : start + size] for start in range(0, len(drawn), size))
