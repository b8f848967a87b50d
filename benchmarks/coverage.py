"""How often the intervals hold the true score, and whether folds of nothing give a score by chance.

    python benchmarks/coverage.py                   15 minutes on one core
    python benchmarks/coverage.py --draws 200       3 minutes

The first two tables draw data sets of which the truth is known, cross-validate a ridge classifier on each
with the kit's folds, and count how often each 95 % interval holds it. The third does the same with labels
that have nothing to do with the features. The last chooses the best of 16 configurations.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from choices import draw_choices
from nulls import audits, run_audit
from report import machine, table, versions
from scipy import stats
from simulation import Floats, Held, cross_validate, draw_linear, ridge, true_accuracy

from hf_transfer.folds import FoldColumns
from hf_transfer.scores.statistics import bootstrap_interval, corrected_resampled_t

Interval = tuple[float, float]

MOST_REPEATS = 5


@dataclass(frozen=True)
class Problem:
    """Rows, features and folds."""

    num_rows: int
    num_features: int
    num_folds: int

    @property
    def name(self) -> str:
        """As a heading."""
        return f"n={self.num_rows} p={self.num_features} k={self.num_folds}"


PROBLEMS = (Problem(100, 20, 5), Problem(100, 60, 5), Problem(400, 20, 5), Problem(100, 20, 10))


@dataclass(frozen=True)
class Draw:
    """Of one data set: its intervals, its folds' true scores, and that of a model of all rows."""

    intervals: Mapping[str, Interval]
    of_folds: Floats
    of_all: float


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--draws", type=int, default=1000, help="data sets of each problem (default 1000)")
    options.add_argument("--nulls", type=int, default=1000, help="data sets of each null (default 1000)")
    chosen, began = options.parse_args(), time.monotonic()
    print(f"{machine(1)}.\n{versions()}.")
    print(f"{chosen.draws} draws of each problem, {chosen.nulls} of each null.\n")
    found = {problem: list(draws(problem, chosen.draws)) for problem in PROBLEMS}
    for title, truths in (
        ("the procedure at n(k-1)/k rows", _of_procedure),
        ("the model of all rows", _of_model),
    ):
        print(f"Coverage of {title} / mean width\n")
        print(coverage_table({problem: (list_, truths(list_)) for problem, list_ in found.items()}) + "\n")
    print(f"Nothing to learn: how often of {chosen.nulls} chance was inside\n\n{null_table(chosen.nulls)}\n")
    print(f"Accuracy of the best of 16, less the truth\n\n{choice_table(chosen.draws)}\n")
    print(f"{time.monotonic() - began:.0f} s")


def draws(problem: Problem, num_draws: int) -> Iterator[Draw]:
    """Draw data sets, cross-validate on each, and make all intervals."""
    for seed in range(num_draws):
        features, labels = draw_linear(problem.num_rows, problem.num_features, np.random.default_rng(seed))
        held = list(
            cross_validate(
                (features, labels), ridge, FoldColumns(labels=labels),
                num_folds=problem.num_folds, num_repeats=MOST_REPEATS, scheme="stratified",
            )
        )  # fmt: skip
        truths = np.array([true_accuracy(one.model) for one in held])
        yield Draw(intervals(held, problem), truths, true_accuracy(ridge(features, labels)))


def intervals(held: Sequence[Held], problem: Problem) -> dict[str, Interval]:
    """All intervals of one data set, by name."""
    of_row = np.zeros((MOST_REPEATS, problem.num_rows))
    fold_of_row = np.zeros(problem.num_rows)
    for one in held:
        of_row[one.repeat, one.rows] = one.right
        if one.repeat == 0:
            fold_of_row[one.rows] = one.fold
    folds = np.array([one.right.mean() for one in held]).reshape(MOST_REPEATS, -1)
    mean = of_row[0].mean()
    margin = 1.96 * np.sqrt(mean * (1 - mean) / problem.num_rows)
    found = {
        "naive normal, rows": (mean - margin, mean + margin),
        "naive t, folds": _plain_t(folds[0]),
        "naive t, 5 repeats": _plain_t(folds),
    }
    for repeats in (1, 5):
        found[f"**bootstrap, r={repeats}**"] = _bootstrap(of_row[:repeats].mean(axis=0), fold_of_row)
    for repeats in (1, 3, 5):
        test = corrected_resampled_t(folds[:repeats].ravel(), problem.num_folds)
        found[f"**conservative, r={repeats}**"] = test.interval
    return found


def _plain_t(values: Floats) -> Interval:
    margin = stats.t.ppf(0.975, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size)
    return values.mean() - margin, values.mean() + margin


def _bootstrap(right: Floats, folds: Floats) -> Interval:
    """The kit's: a row is drawn with all its repeats, so that its mean over repeats is what is drawn."""
    found = bootstrap_interval(lambda w: {"accuracy": w @ right / w.sum(axis=1)}, folds, seed=0)["accuracy"]
    assert found is not None
    return found


def _of_procedure(found: Sequence[Draw]) -> list[float]:
    return [float(np.mean([draw.of_folds for draw in found]))] * len(found)


def _of_model(found: Sequence[Draw]) -> list[float]:
    return [draw.of_all for draw in found]


def coverage_table(found: Mapping[Problem, tuple[Sequence[Draw], Sequence[float]]]) -> str:
    """Share of the draws whose interval holds the truth, and mean width, for each interval and problem."""
    names = next(iter(found.values()))[0][0].intervals
    rows = [[name, *(_cell(name, *of_problem) for of_problem in found.values())] for name in names]
    return table(["interval", *(problem.name for problem in found)], rows)


def _cell(name: str, found: Sequence[Draw], truths: Sequence[float]) -> str:
    bounds = np.array([draw.intervals[name] for draw in found])
    inside = (bounds[:, 0] <= truths) & (truths <= bounds[:, 1])
    return f"{inside.mean():.3f} / {np.ptp(bounds, axis=1).mean():.3f}"


def null_table(num_draws: int) -> str:
    """Mean accuracy of each null under each scheme, and how often chance, 0.5, was inside."""
    rows = []
    for audit in audits():
        mean, inside = run_audit(audit, num_draws)
        rows.append([audit.name, audit.scheme, f"{mean:.3f}", *inside.values()])
    columns = ["null", "folds", "mean accuracy", "bootstrap", "conservative, r=1", "conservative, r=3"]
    return table(columns, rows, words=2)


def choice_table(num_draws: int) -> str:
    """Mean error of the accuracy of the best of several configurations, as it is and corrected."""
    rows = []
    for name, spread in (("equal", 0.0), ("standard deviation 0.03", 0.03)):
        found = draw_choices(spread, num_draws)
        errors = ([choice.naive for choice in found], [choice.corrected for choice in found])
        rows.append([name, *(f"{np.mean(error):+.4f}" for error in errors)])
    return table(["true accuracies", "as chosen", "corrected"], rows)


if __name__ == "__main__":
    main()
