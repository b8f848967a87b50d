import warnings

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_tables import floats, set_predictions
from sklearn import metrics as sk

from hf_transfer.errors import ConfigError, DataError
from hf_transfer.scores.over_folds import score_folds, summarise
from hf_transfer.scores.set_scorer import LabelSetScorer, marks_of

NAMES = ("cat", "dog", "owl", "bat")
SCORER = LabelSetScorer(NAMES)
cases = st.tuples(st.integers(1, 30), st.integers(1, 4), st.integers(0, 2**32))


def by_scikit_learn(table):
    """The scores of one fold, of the labels that have them."""
    (label, given_), logits = SCORER.marks(table), SCORER.logits(table)
    some = label.any(0)
    mixed = some & ~label.all(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "f1_micro": sk.f1_score(label, given_, average="micro", zero_division=np.nan),
            "f1_macro": sk.f1_score(label[:, some], given_[:, some], average="macro", zero_division=0)
            if some.any()
            else np.nan,
            "average_precision": np.mean(
                [sk.average_precision_score(label[:, c], logits[:, c]) for c in np.flatnonzero(some)]
            ),
            "roc_auc": np.mean([sk.roc_auc_score(label[:, c], logits[:, c]) for c in np.flatnonzero(mixed)]),
            "hamming_loss": sk.hamming_loss(label, given_),
            "exact_match": sk.accuracy_score(label, given_),
        }


@settings(max_examples=50, deadline=None)
@given(cases)
def test_a_fold_is_scored_as_scikit_learn_does(case):
    num_rows, _, seed = case
    table = set_predictions(num_rows, NAMES, num_folds=1, seed=seed)
    assert floats(SCORER.score(table)) == pytest.approx(by_scikit_learn(table), nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(cases)
def test_weights_count_rows_as_often_as_they_say(case):
    num_rows, _, seed = case
    table = set_predictions(num_rows, NAMES, num_folds=1, seed=seed)
    weights = np.random.default_rng(seed).integers(0, 3, (1, num_rows))
    weights[0, 0] += 1
    repeated = table.take(np.repeat(np.arange(num_rows), weights[0]))
    resampled = {name: values[0] for name, values in SCORER.resampled(table, weights).items()}
    assert resampled == pytest.approx(floats(SCORER.score(repeated)), nan_ok=True)


@settings(max_examples=30, deadline=None)
@given(cases, st.integers(1, 2))
def test_f1_counts_over_folds_and_areas_are_averaged(case, num_repeats):
    num_rows, num_folds, seed = case
    table = set_predictions(num_rows, NAMES, num_folds=num_folds, num_repeats=num_repeats, seed=seed)
    pooled = floats(SCORER.pooled(table))
    parts = [table.filter(table["repeat"].to_numpy() == repeat) for repeat in range(num_repeats)]
    for name, expected in {
        "f1_micro": [floats(SCORER.of_one_repeat(part))["f1_micro"] for part in parts],
        "roc_auc": [
            np.nanmean([floats(one)["roc_auc"] for one in score_folds(part, SCORER).values()])
            if any(one["roc_auc"] is not None for one in score_folds(part, SCORER).values())
            else np.nan
            for part in parts
        ],
    }.items():
        known = [value for value in expected if not np.isnan(value)]
        assert pooled[name] == pytest.approx(np.mean(known) if known else np.nan, nan_ok=True)


def test_rows_without_any_label_are_rows():
    table = set_predictions(40, NAMES, num_folds=2, share=0.05, seed=3)
    found = summarise(list(score_folds(table, SCORER).values()), table, SCORER, seed=0)
    assert found["hamming_loss"].mean == pytest.approx(by_scikit_learn(table)["hamming_loss"])
    for name, score in found.items():
        low, high = SCORER.range_of(name)
        assert score.interval is None or low <= score.interval[0] <= score.interval[1] <= high


def test_each_label_has_its_own_line():
    table = set_predictions(50, NAMES, num_folds=2, num_repeats=2, seed=0)
    label, given_ = SCORER.marks(table)
    for place, line in enumerate(SCORER.per_class(table)):
        assert line.label == NAMES[place]
        assert line.support == label[:, place].sum() / 2
        assert line.f1 == pytest.approx(sk.f1_score(label[:, place], given_[:, place]))
    assert SCORER.confusion(table) is None


def test_what_is_no_set_of_labels_is_refused():
    with pytest.raises(DataError, match="holds the label id 4; they go from 0 to 3"):
        marks_of(pa.chunked_array([[[0, 4]]]), NAMES, "label")
    with pytest.raises(DataError, match="must hold a list of label ids a row, got int64"):
        marks_of(pa.chunked_array([[0, 1]]), NAMES, "label")
    with pytest.raises(ConfigError, match="label_names must be different names, got a, a"):
        LabelSetScorer(["a", "a"])
