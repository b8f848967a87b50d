"""Arms that are trained: the schedule, the loss, and that what is published is what was trained."""

import numpy as np
import pytest
import torch
from two_domains import two_domains

from hf_transfer.transfer import trained_arms
from hf_transfer.transfer.trained_arms import confusion, dann, mcc, reversal


def test_the_reversal_grows_as_published():
    assert [reversal(p) for p in (0.0, 0.5, 1.0)] == pytest.approx([0.0, 0.98661, 0.99991], abs=1e-5)


def test_the_gradient_is_reversed_and_scaled():
    x = torch.ones(3, requires_grad=True)
    trained_arms._Reversed.apply(x, 0.5).sum().backward()
    assert x.grad.tolist() == [-0.5] * 3


def test_confusion_is_least_where_rows_are_sure():
    """Nothing for rows that are sure of a class each, and the most for rows that say nothing."""
    sure, torn = 50 * torch.eye(3), torch.tensor([[9.0, 9.0, -9.0], [9.0, 9.0, -9.0], [-9.0, -9.0, 9.0]])
    assert float(confusion(sure)) == pytest.approx(0.0, abs=1e-6)
    assert 0.1 < float(confusion(torn)) < float(confusion(torch.zeros(3, 3)))


@pytest.mark.parametrize("arm", [dann, mcc])
def test_a_trained_arm_is_a_head_on_features_as_they_are(arm, monkeypatch):
    """It learns the source, whatever the features' units are, and gives the same again."""
    monkeypatch.setattr(trained_arms, "_STEPS", 100)
    both, _ = two_domains()
    head = arm(both)
    assert (head.scores(both.source).argmax(1) == both.labels).mean() > 0.7
    again = arm(both)
    np.testing.assert_allclose(head.weight, again.weight, atol=1e-6)
