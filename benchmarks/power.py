"""How often a comparison of two runs finds a difference that is there, and one that is not.

    python benchmarks/power.py                   about 10 minutes on one core
    python benchmarks/power.py --draws 200       one minute

Rows have 20 features of which one decides the label. Two models see the same rows, each through noise of its
own, as two pretrained models do; a ridge classifier is cross-validated on each with the kit's folds, so that
training sets are drawn again for every data set, and compared as `hf-transfer compare` does. The second
model's noise is such that its true accuracy, over training sets, is behind by so much.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from report import machine, table, versions
from scipy.optimize import brentq
from simulation import Floats, Held, Ints, cross_validate, draw_linear, ridge, true_accuracy

from hf_transfer.folds import FoldColumns
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.paired import Pair, RightRows, adjusted, pair_folds
from hf_transfer.scores.statistics import mcnemar

ROWS, EFFECTS, REPEATS = (50, 100, 300), (0.0, 0.02, 0.05, 0.10, 0.20), (1, 3)
NUM_FOLDS, NUM_FEATURES = 5, 20
SIGNAL = 8.0  # the best accuracy is 0.94
FIRST_NOISE = 0.3
ALIKE_NOISE = 0.05  # two models that see nearly the same
CALIBRATION = 200  # training sets by whose models the second noise is found


@dataclass(frozen=True)
class Case:
    """So many rows, and two models of which the second has so much noise."""

    num_rows: int
    noises: tuple[float, float]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--draws", type=int, default=1000, help="data sets of each case (default 1000)")
    draws, began = options.parse_args().draws, time.monotonic()
    print(f"{machine(1)}.\n{versions()}.\n{draws} data sets of each case, seeds 0 to {draws - 1}.\n")
    print(power_table(draws))
    print(f"\n{time.monotonic() - began:.0f} s")


def power_table(num_draws: int) -> str:
    """Share of verdicts "yes", and of "yes" or "likely", by rows, repeats and true difference."""
    names = ["0, alike", *(f"{effect:g}" for effect in EFFECTS)]
    rows = []
    for num_rows in ROWS:
        cases = [Case(num_rows, (ALIKE_NOISE, ALIKE_NOISE)), *(case_of(num_rows, e) for e in EFFECTS)]
        found = [verdicts(case, num_draws) for case in cases]
        for repeats in REPEATS:
            cells = [_cell(one[repeats], num_draws) for one in found]
            rows.append([str(num_rows), str(repeats), f"{accuracy(num_rows, FIRST_NOISE):.2f}", *cells])
    return table(["rows", "repeats", "accuracy of the first", *names], rows)


def _cell(verdicts_: Counter[str], num_draws: int) -> str:
    yes = verdicts_["first is better"] + verdicts_["second is better"]
    likely = verdicts_["first is likely better"] + verdicts_["second is likely better"]
    return f"{yes / num_draws:.3f} / {(yes + likely) / num_draws:.3f}"


def case_of(num_rows: int, effect: float) -> Case:
    """Find the noise with which the second model is behind by so much, on average over training sets."""
    wanted = accuracy(num_rows, FIRST_NOISE) - effect
    second = (
        brentq(lambda noise: accuracy(num_rows, noise) - wanted, FIRST_NOISE, 30) if effect else FIRST_NOISE
    )
    return Case(num_rows, (FIRST_NOISE, float(second)))


@cache
def accuracy(num_rows: int, noise: float) -> float:
    """Mean true accuracy of models of a fold's training rows, seen through noise."""
    found = []
    for seed in range(CALIBRATION):
        rng = np.random.default_rng([1, seed])
        features, labels = draw_linear(num_rows * (NUM_FOLDS - 1) // NUM_FOLDS, NUM_FEATURES, rng, SIGNAL)
        line = ridge(features + noise * rng.normal(size=features.shape), labels)
        found.append(true_accuracy(line, noise, SIGNAL))
    return float(np.mean(found))


def verdicts(case: Case, num_draws: int) -> dict[int, Counter[str]]:
    """Count the verdicts on some data sets, by the number of repeats."""
    found: dict[int, Counter[str]] = {repeats: Counter() for repeats in REPEATS}
    for seed in range(num_draws):
        models = list(_cross_validated(case, np.random.default_rng([0, seed])))
        for repeats in REPEATS:
            found[repeats][compared(models, repeats).verdict] += 1
    return found


def _cross_validated(case: Case, rng: np.random.Generator) -> Iterator[list[Held]]:
    """Both models' held-out folds of one data set, all repeats."""
    features, labels = draw_linear(case.num_rows, NUM_FEATURES, rng, SIGNAL)
    kind: dict[str, Any] = {
        "num_folds": NUM_FOLDS, "num_repeats": max(REPEATS), "scheme": "stratified",
    }  # fmt: skip
    for noise in case.noises:
        seen = features + noise * rng.normal(size=features.shape)
        yield list(cross_validate((seen, labels), ridge, FoldColumns(labels=labels), **kind))


def compared(models: list[list[Held]], repeats: int) -> Pair:
    """Compare two models as two runs are compared."""
    records = [
        [_record(one, len(_rights(model))) for one in model if one.repeat < repeats] for model in models
    ]
    pair = pair_folds(("first", records[0]), ("second", records[1]), "accuracy", higher_is_better=True)
    right = [_rights(model) for model in models]
    rows = RightRows(**mcnemar(*right)._asdict(), repeat=0, num_rows=len(right[0]))
    return adjusted([replace(pair, rows=rows)])[0]


def _record(one: Held, num_rows: int) -> FoldResult:
    scores = {"accuracy": float(one.right.mean())}
    return FoldResult(one.repeat, one.fold, num_rows - len(one.rows), len(one.rows), seed=0, scores=scores)


def _rights(model: list[Held]) -> Floats:
    """Whether each row was right in the first repeat, in the order of the rows."""
    first = [one for one in model if one.repeat == 0]
    rows: Ints = np.concatenate([one.rows for one in first])
    return np.concatenate([one.right for one in first])[rows.argsort()]


if __name__ == "__main__":
    main()
