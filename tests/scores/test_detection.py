import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit
from sklearn.metrics import roc_auc_score

from hf_transfer.scores.class_scorer import ClassificationScorer
from hf_transfer.scores.detection import detect, threshold_at
from hf_transfer.scores.number_scorer import NumberScorer
from hf_transfer.scores.set_scorer import LabelSetScorer


def predictions(labels, shares, folds, units=None, repeat=0):
    shares = np.asarray(shares, float)
    logits = np.stack([np.zeros(len(shares)), logit(shares)], axis=1)
    columns = {
        "row_id": np.arange(len(labels)),
        "repeat": np.full(len(labels), repeat, np.int32),
        "fold": np.asarray(folds, np.int32),
        "label": np.asarray(labels),
        "prediction": (shares > 0.5).astype(int),
        "logits": list(logits),
    }
    return pa.table(columns | ({} if units is None else {"unit": units}))


def drawn(seed=0, n=300, folds=5):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    shares = 1 / (1 + np.exp(-rng.normal(1.5 * labels - 0.7)))
    return labels, shares, rng.permutation(np.arange(n) % folds)


SCORER = ClassificationScorer(["well", "ill"])


@given(st.integers(0, 10_000), st.floats(0.05, 0.95))
@settings(max_examples=50, deadline=None)
def test_so_many_negatives_lie_below_the_threshold_and_no_lower_one_would_do(seed, specificity):
    labels, shares, _ = drawn(seed, n=40)
    shares = shares.round(1)  # with ties
    cut = threshold_at(labels == 1, shares, specificity)
    negative = shares[labels == 0]
    assert (negative < cut).mean() >= specificity - 1e-9
    lower = shares[shares < cut]
    assert not len(lower) or (negative < lower.max()).mean() < specificity


def test_scores_are_those_of_other_libraries_within_each_fold():
    labels, shares, folds = drawn()
    found = detect(predictions(labels, shares, folds), SCORER, 0.9, seed=0)
    well, ill = found.findings
    areas = [roc_auc_score(labels[folds == fold], shares[folds == fold]) for fold in range(5)]
    assert ill.auc == pytest.approx(np.mean(areas)) == pytest.approx(well.auc)
    assert ill.brier == pytest.approx(((shares - labels) ** 2).mean())
    assert ill.positives == labels.sum()
    for name in ("auc", "sensitivity", "specificity", "brier"):
        low, high = getattr(ill, f"{name}_interval")
        assert low < getattr(ill, name) < high


def test_no_row_takes_part_in_its_own_threshold():
    labels, shares, folds = drawn()
    found = detect(predictions(labels, shares, folds), SCORER, 0.8, seed=0).findings[1]
    called = np.empty(len(labels), bool)
    for fold in range(5):
        others = folds != fold
        called[~others] = shares[~others] >= threshold_at(labels[others] == 1, shares[others], 0.8)
    assert found.sensitivity == pytest.approx(called[labels == 1].mean())
    assert found.specificity == pytest.approx((~called)[labels == 0].mean())
    assert found.specificity != pytest.approx(0.8, abs=1e-9)
    assert found.threshold == pytest.approx(threshold_at(labels == 1, shares, 0.8), rel=1e-12)


def test_repeats_are_averaged_and_drawn_together():
    labels, shares, folds = drawn()
    once = detect(predictions(labels, shares, folds), SCORER, 0.9, seed=0)
    twice = pa.concat_tables([predictions(labels, shares, folds, repeat=r) for r in (0, 1)])
    for a, b in zip(detect(twice, SCORER, 0.9, seed=0).findings, once.findings, strict=True):
        assert (a.positives, a.auc_interval) == (b.positives, pytest.approx(b.auc_interval))
        assert [a.auc, a.sensitivity, a.brier] == pytest.approx([b.auc, b.sensitivity, b.brier])


def test_rows_of_one_patient_are_no_more_evidence_than_one():
    labels, shares, folds = drawn(n=100)
    alone = detect(predictions(labels, shares, folds), SCORER, 0.9, seed=0).findings[1]
    nine = [np.repeat(column, 9) for column in (labels, shares, folds)]
    units = np.repeat(np.arange(100), 9)
    grouped = detect(predictions(*nine, units=units), SCORER, 0.9, seed=0)
    naive = detect(predictions(*nine), SCORER, 0.9, seed=0).findings[1]
    assert grouped.unit == "group"
    width, of_groups, of_rows = (np.ptp(one.auc_interval) for one in (alone, grouped.findings[1], naive))
    assert of_groups == pytest.approx(width, rel=0.2)
    assert of_rows < 0.5 * of_groups


def test_each_label_of_a_set_is_found_by_itself():
    rng = np.random.default_rng(0)
    marks = rng.integers(0, 2, (200, 3)).astype(bool)
    logits = rng.normal(2.0 * marks - 1)
    table = pa.table({
        "row_id": np.arange(200), "repeat": np.zeros(200, int), "fold": np.arange(200) % 4,
        "label": [np.flatnonzero(row).tolist() for row in marks],
        "prediction": [np.flatnonzero(row >= 0).tolist() for row in logits], "logits": list(logits),
    })  # fmt: skip
    found = detect(table, LabelSetScorer(["a", "b", "c"]), 0.9, seed=0)
    assert [one.label for one in found.findings] == ["a", "b", "c"]
    assert all(0.85 < one.auc < 1 and abs(one.specificity - 0.9) < 0.1 for one in found.findings)


def test_nothing_is_told_unasked_of_one_class_or_of_numbers():
    labels, shares, folds = drawn()
    table = predictions(labels, shares, folds)
    assert detect(table, SCORER, None, seed=0) is None
    assert detect(table, NumberScorer(["weight"]), 0.9, seed=0) is None
    ill = detect(predictions(np.ones_like(labels), shares, folds), SCORER, 0.9, seed=0).findings[1]
    assert (ill.auc, ill.sensitivity, ill.specificity, ill.threshold) == (None, None, None, None)
