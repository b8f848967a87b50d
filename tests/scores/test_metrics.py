import subprocess
import sys

import numpy as np
import pytest
import seqeval.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.scheme import IOB2
from sklearn import metrics as sk

from hf_transfer.errors import ConfigError
from hf_transfer.scores import metrics

LABELS = range(4)


ids = st.integers(0, 3)


pairs = st.lists(st.tuples(ids, ids), min_size=1, max_size=40)


tags = st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])


def repaired(row):
    """Make each stray I- of a random row of tags a B-."""
    fixed = []
    for tag in row:
        before = fixed[-1] if fixed else "O"
        fixed.append("B" + tag[1:] if tag[0] == "I" and before[1:] != tag[1:] else tag)
    return fixed


@settings(max_examples=40, deadline=None)
@given(pairs, st.sampled_from(["macro", "micro", "weighted"]))
def test_averages_equal_scikit_learn(rows, average):
    references, predictions = map(np.asarray, zip(*rows, strict=True))
    for name in ("precision", "recall", "f1"):
        expected = getattr(sk, f"{name}_score")(references, predictions, average=average, zero_division=0)
        found = metrics.class_average(name, references, predictions, labels=LABELS, average=average)
        assert found == {f"{name}_{average}": pytest.approx(expected)}


@settings(max_examples=40, deadline=None)
@given(pairs)
def test_classes_equal_scikit_learn_or_are_undefined(rows):
    references, predictions = map(np.asarray, zip(*rows, strict=True))
    for name in ("precision", "recall", "f1"):
        score = getattr(sk, f"{name}_score")
        expected = score(references, predictions, average=None, labels=list(LABELS), zero_division=np.nan)
        found = metrics.class_average(name, references, predictions, labels=LABELS, average=None)[name]
        np.testing.assert_allclose(np.array(found, dtype=float), expected)


@settings(max_examples=40, deadline=None)
@given(pairs)
def test_counts_and_agreement_equal_scikit_learn(rows):
    references, predictions = map(np.asarray, zip(*rows, strict=True))
    given = {"references": references, "predictions": predictions}
    assert metrics.accuracy(**given) == {"accuracy": pytest.approx(np.mean(references == predictions))}
    counts = sk.confusion_matrix(references, predictions, labels=list(LABELS))
    assert metrics.confusion_matrix(**given, labels=LABELS) == {"confusion_matrix": counts.tolist()}
    if len(set(references)) > 1 and set(predictions) <= set(references):
        balanced = sk.balanced_accuracy_score(references, predictions)
        assert metrics.balanced_accuracy(**given) == {"balanced_accuracy": pytest.approx(balanced)}
    if len(set(references)) > 1 and len(set(predictions)) > 1:
        expected = sk.matthews_corrcoef(references, predictions)
        assert metrics.matthews_correlation(**given) == {"mcc": pytest.approx(expected)}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 5))
def test_curves_and_losses_equal_scikit_learn(seed, num_classes):
    rng = np.random.default_rng(seed)
    references = np.concatenate([np.arange(num_classes), rng.integers(0, num_classes, 20)])
    scores = rng.dirichlet(np.ones(num_classes), len(references))
    area = sk.roc_auc_score(references, scores[:, 1] if num_classes == 2 else scores, multi_class="ovr")
    assert metrics.roc_auc(references, scores) == {"roc_auc": pytest.approx(area)}
    loss = sk.log_loss(references, scores, labels=range(num_classes))
    assert metrics.log_loss(references, scores) == {"log_loss": pytest.approx(loss)}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.tuples(tags, tags), min_size=1, max_size=8), min_size=1, max_size=8))
def test_entities_equal_seqeval_in_strict_mode(rows):
    references = [repaired([tag for tag, _ in row]) for row in rows]
    predictions = [[tag for _, tag in row] for row in rows]
    found = metrics.entity_scores(references, predictions)
    strict = {"mode": "strict", "scheme": IOB2, "zero_division": 0}
    for name in ("precision", "recall", "f1"):
        expected = getattr(seqeval.metrics, f"{name}_score")(references, predictions, **strict)
        assert (found[name] or 0.0) == pytest.approx(expected)
    assert found["accuracy"] == pytest.approx(seqeval.metrics.accuracy_score(references, predictions))
    if found["entities"]:
        report = seqeval.metrics.classification_report(references, predictions, output_dict=True, **strict)
        for name, scores in found["entities"].items():
            assert scores["support"] == report[name]["support"]
            assert (scores["f1"] or 0.0) == pytest.approx(report[name]["f1-score"])


def test_a_missing_seqeval_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "seqeval.scheme", None)
    with pytest.raises(ConfigError, match=r'Run: pip install "hf-transfer-kit\[text\]"'):
        metrics.entity_scores([["O"]], [["O"]])


def test_importing_metrics_imports_neither_evaluate_nor_torch():
    heavy = "{'torch', 'evaluate', 'datasets'}"
    code = f"import sys, hf_transfer.scores.evaluate_modules; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
