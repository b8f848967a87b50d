"""A few labels of the target: half of what counts, and never judged by a head that has seen them."""

import numpy as np
import pytest
from two_domains import two_domains

from hf_transfer.scores.regression import Classifier, LinearProblem
from hf_transfer.transfer.few_labels import FewLabels, cross_fitted, labels_alone, with_labels


def few_of(truth, num=30):
    rows = np.random.default_rng(0).permutation(len(truth))[:num]
    return FewLabels(rows, truth[rows])


def test_few_labels_count_for_half():
    """As if each were there so often that both domains had as many rows."""
    both, truth = two_domains()
    few = few_of(truth)
    often = np.tile(few.rows, len(both.labels) // len(few.rows))
    assert len(often) == len(both.labels)
    rows, labels = (
        np.concatenate([both.source, both.target[often]]),
        np.concatenate([both.labels, truth[often]]),
    )
    solved = LinearProblem(rows, labels, both.num_classes).solve([both.strength])[both.strength]
    np.testing.assert_allclose(with_labels(both, few).weight, solved.weight, atol=1e-7)


@pytest.mark.parametrize("fit", [with_labels, labels_alone])
def test_labels_help_where_the_domain_is_another(fit):
    both, truth = two_domains(1, moved=5.0)
    plain = (both.head.scores(both.target).argmax(1) == truth).mean()
    assert (fit(both, few_of(truth)).scores(both.target).argmax(1) == truth).mean() > plain


def test_a_labelled_row_is_judged_by_heads_that_have_not_seen_it():
    """A head that knows its rows by heart says nothing true of the others."""
    both, truth = two_domains(2)
    few = few_of(truth)
    seen = []

    def by_heart(given, part, _tolerance):
        seen.append(set(part.rows))
        weight = np.zeros((given.num_classes, given.target.shape[1]))
        return Classifier(weight, np.bincount(part.labels, minlength=given.num_classes).astype(float))

    cross_fitted(by_heart, both, few)
    assert len(seen) == 10
    assert all(sum(row not in rows for rows in seen) == 1 for row in few.rows)


def test_a_class_without_a_label_is_no_error():
    both, truth = two_domains(3)
    rows = np.flatnonzero(truth != 2)[:30]
    assert np.isfinite(labels_alone(both, FewLabels(rows, truth[rows])).weight).all()
