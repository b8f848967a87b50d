"""Folds of label sets: as even as those of iterative stratification; whole groups, where there are any."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_transfer.folds import FoldColumns, plan_folds

NUM_FOLDS = 5


def label_sets(seed: int) -> np.ndarray:
    """Marks of 3 to 19 labels, (n, c), some of them rare, that tend to stand together."""
    rng = np.random.default_rng(seed)
    num_rows, num_labels = int(rng.integers(60, 600)), int(rng.integers(3, 20))
    shares = rng.beta(0.6, 3, num_labels) * np.exp(0.5 * rng.normal(size=(num_rows, 1)))
    marks = (rng.random((num_rows, num_labels)) < np.minimum(shares, 0.95)).astype(np.int64)
    return marks[:, marks.any(axis=0)]


def folds_of(marks: np.ndarray, num_folds: int = NUM_FOLDS, groups: np.ndarray | None = None) -> np.ndarray:
    columns = FoldColumns(counts=marks, groups=groups)
    plan = plan_folds(np.arange(len(marks)), num_folds, seed=0, columns=columns)
    assert plan.scheme == "entity"
    return plan.fold_of_row()


def worst(marks: np.ndarray, folds: np.ndarray) -> float:
    """How many rows of a label a fold has more or less than an even share, at most."""
    counts = np.stack([marks[folds == fold].sum(axis=0) for fold in range(NUM_FOLDS)])
    return float(np.abs(counts - marks.sum(axis=0) / NUM_FOLDS).max())


@pytest.mark.parametrize("seed", range(10))
def test_no_label_is_worse_spread_than_by_iterative_stratification(seed):
    stratifiers = pytest.importorskip("iterstrat.ml_stratifiers")
    marks = label_sets(seed)
    splitter = stratifiers.MultilabelStratifiedKFold(NUM_FOLDS, shuffle=True, random_state=0)
    theirs = np.empty(len(marks), np.int64)
    for fold, (_, held_out) in enumerate(splitter.split(np.zeros((len(marks), 1)), marks)):
        theirs[held_out] = fold
    assert worst(marks, folds_of(marks)) <= worst(marks, theirs) + 1e-9


@pytest.mark.parametrize("seed", range(10))
def test_folds_are_nearly_even(seed):
    marks = label_sets(seed)
    assert worst(marks, folds_of(marks)) <= 1.5


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 6), st.integers(0, 30), st.booleans())
def test_groups_stay_whole_and_every_fold_has_rows(seed, num_folds, more, empty):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, num_folds + more)
    groups = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    marks = (rng.random((len(groups), 4)) < (0 if empty else 0.2)).astype(np.int64)
    folds = folds_of(marks, num_folds, groups)
    assert set(folds.tolist()) == set(range(num_folds))
    assert all(len(set(folds[groups == group].tolist())) == 1 for group in range(len(sizes)))


def test_labels_of_groups_are_spread_better_than_groups_alone():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 10)
    own = (rng.random((60, 4)) < 0.15).astype(np.int64)  # a group's rows share its labels
    marks = own[groups] * (rng.random((600, 4)) < 0.8)
    columns = FoldColumns(counts=marks, groups=groups)
    plain = plan_folds(np.arange(600), NUM_FOLDS, seed=0, columns=columns, scheme="group").fold_of_row()
    assert worst(marks, folds_of(marks, groups=groups)) < worst(marks, plain) / 2
