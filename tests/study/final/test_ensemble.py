import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit

from hf_transfer.errors import RunError
from hf_transfer.scores.statistics import apply_temperature
from hf_transfer.study.final.ensemble import average_outputs
from hf_transfer.tasks.targets.classes import Classes
from hf_transfer.tasks.targets.label_sets import LabelSets
from hf_transfer.tasks.targets.numbers import Numbers

LOGITS = arrays(np.float64, (4, 3), elements=st.floats(-8, 8))
TEMPERATURES = st.floats(0.2, 5)


def averaged(members, temperature=1.0, target=None):
    return average_outputs(members, target or Classes(["a", "b", "c"]), temperature)


@given(LOGITS, TEMPERATURES, st.integers(1, 4))
def test_equal_members_give_what_one_gives(logits, temperature, number):
    found = averaged([{0: logits}] * number, temperature)
    np.testing.assert_allclose(np.exp(found[0]), apply_temperature(logits, temperature), atol=1e-6)


@given(LOGITS, LOGITS, TEMPERATURES)
def test_probabilities_are_averaged_in_any_order(one, other, temperature):
    found = averaged([{0: one, 1: other}, {0: other, 1: one}], temperature)
    wanted = (apply_temperature(one, temperature) + apply_temperature(other, temperature)) / 2
    for row in (0, 1):
        np.testing.assert_allclose(np.exp(found[row]), wanted, atol=1e-6)
        np.testing.assert_allclose(np.exp(found[row]).sum(1), 1, atol=1e-5)


def test_it_is_not_the_mean_of_the_logits():
    # One member is certain of the second class, two lean to the first; their mean logit does not.
    members = [{0: [[0.0, 9.0]]}, {0: [[1.0, 0.0]]}, {0: [[1.0, 0.0]]}]
    assert np.exp(averaged(members)[0]).argmax() == np.array([0.49, 0.51]).argmax()
    assert np.exp(averaged(members)[0])[0, 1] == pytest.approx((1 + 2 * 0.268941) / 3, abs=1e-4)


def test_an_impossible_class_stays_finite_and_a_sentence_may_be_empty():
    found = averaged([{0: [[0.0, 900.0]], 1: np.zeros((0, 2))}])
    assert np.isfinite(found[0]).all()
    assert found[1].shape == (0, 2)


@pytest.mark.parametrize("members", [[], [{0: [[1.0, 2.0]]}, {1: [[1.0, 2.0]]}]])
def test_models_of_different_rows_are_refused(members):
    with pytest.raises(RunError, match=f"{len(members)} models were to be averaged.* of the same rows"):
        averaged(members)


def test_numbers_are_averaged_as_they_are():
    found = averaged([{0: [[1.0]]}, {0: [[4.0]]}], temperature=3.0, target=Numbers(["stars"]))
    assert found[0].tolist() == [[2.5]]


@given(LOGITS, LOGITS)
def test_of_label_sets_each_probability_is_averaged(one, other):
    found = averaged([{0: one}, {0: other}], target=LabelSets(["a", "b", "c"]))
    np.testing.assert_allclose(expit(found[0]), (expit(one) + expit(other)) / 2, atol=1e-6)


def test_a_sure_label_stays_finite():
    assert np.isfinite(averaged([{0: [[900.0, -900.0]]}], target=LabelSets(["a", "b"]))[0]).all()
