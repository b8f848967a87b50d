"""Arms that need no labels of the target: what they fold, and what they are checked against."""

import numpy as np
import pytest
from scipy.special import softmax
from two_domains import two_domains

from hf_transfer.scores.regression import LinearProblem
from hf_transfer.transfer.arms import (
    Domains,
    as_sure,
    coral,
    parts_of,
    prototypes,
    recoloured,
    z_scored,
)


def standard(rows):
    return (rows - rows.mean(0)) / rows.std(0)


@pytest.mark.parametrize("seed", range(3))
def test_z_scored_folds_the_change_of_units_exactly(seed):
    """The plain head on raw target rows answers as the source's head on rows in the source's units."""
    both, _ = two_domains(seed)
    in_units = standard(both.target) * both.source.std(0) + both.source.mean(0)
    np.testing.assert_allclose(z_scored(both).scores(both.target), both.head.scores(in_units), atol=1e-6)


def test_a_feature_that_stands_still_in_one_domain_moves_nothing():
    both, _ = two_domains()
    still = Domains(both.source, both.labels, both.target * [1, 1, 1, 1, 1, 0], both.num_classes)
    assert np.isfinite(z_scored(still).weight).all()
    assert np.isfinite(coral(still).weight).all()


def test_arms_undo_a_change_of_units():
    """Of a target that differs by units alone, each arm makes what it is for."""
    both, truth = two_domains(1, moved=5.0)
    right = {arm: (arm(both).scores(both.target).argmax(1) == truth).mean() for arm in (z_scored, prototypes)}
    plain = (both.head.scores(both.target).argmax(1) == truth).mean()
    assert min(right.values()) > plain + 0.1


def test_arms_change_little_where_nothing_is_shifted():
    both, _ = two_domains(2)
    same = Domains(both.source, both.labels, both.source, both.num_classes)
    np.testing.assert_allclose(z_scored(same).weight, same.head.weight, atol=1e-9)
    np.testing.assert_allclose(recoloured(same), same.source, atol=1e-9)


def test_recoloured_rows_have_the_targets_mean_and_covariance():
    both, _ = two_domains(3)
    found = recoloured(both, shrinkage=0.0)
    np.testing.assert_allclose(found.mean(0), both.target.mean(0), atol=1e-9)
    np.testing.assert_allclose(np.cov(found.T), np.cov(both.target.T), atol=1e-9)


def test_coral_is_a_head_solved_on_recoloured_rows():
    both, _ = two_domains(4)
    plain = LinearProblem(recoloured(both), both.labels, both.num_classes)
    solved = plain.solve([both.strength])[both.strength]
    np.testing.assert_allclose(coral(both).scores(both.target), solved.scores(both.target), atol=1e-6)


def test_coral_agrees_with_skada():
    """On standardised features, which is what its authors align."""
    skada = pytest.importorskip("skada")
    both, _ = two_domains(5)
    scaled = Domains(standard(both.source), both.labels, standard(both.target), both.num_classes)
    rows = np.concatenate([scaled.source, scaled.target])
    domain = np.repeat([1, -2], [len(scaled.source), len(scaled.target)])
    adapter = skada.CORALAdapter(reg=None).fit(rows, sample_domain=domain)
    theirs = adapter.transform(rows, sample_domain=domain, allow_source=True)[: len(scaled.source)]
    np.testing.assert_allclose(recoloured(scaled, shrinkage=0.0), np.real(theirs), atol=1e-6)


def test_prototypes_are_the_means_of_what_is_nearest():
    """Against loops over rows and classes."""
    both, _ = two_domains(6)
    units = standard(both.target)
    units /= np.linalg.norm(units, axis=1)[:, None]
    shares = softmax(z_scored(both).scores(both.target), axis=1)
    for _ in range(2):
        means = [sum(share * row for share, row in zip(column, units, strict=True)) for column in shares.T]
        near = [int(np.argmax([row @ mean / np.linalg.norm(mean) for mean in means])) for row in units]
        shares = np.eye(both.num_classes)[near]
    assert prototypes(both).scores(both.target).argmax(1).tolist() == near


def test_prototypes_of_a_class_that_nothing_is_taken_for_stay_finite():
    both, _ = two_domains(7)
    wide = Domains(both.source, both.labels, both.target, both.num_classes + 1)
    assert np.isfinite(prototypes(wide).weight).all()


def test_as_sure_as_another_head():
    both, _ = two_domains(8)
    scaled = as_sure(prototypes(both), both.head, both.target)
    sure = [softmax(head.scores(both.target), axis=1).max(1).mean() for head in (scaled, both.head)]
    assert sure[0] == pytest.approx(sure[1], abs=1e-6)


def test_parts_have_each_class_alike_and_each_row_once():
    labels = np.repeat([0, 1, 2], [10, 5, 5])
    parts = parts_of(labels)
    assert sorted(np.concatenate([check for _, check in parts])) == list(range(20))
    assert all(np.bincount(labels[check], minlength=3).tolist() == [2, 1, 1] for _, check in parts)
    assert all(not set(learn) & set(check) for learn, check in parts)
