import numpy as np

from hf_transfer.scores.statistics import divide, mean_defined


def test_undefined_values_are_left_out_of_a_mean():
    means = mean_defined([np.array([1.0, np.nan, np.nan]), np.array([3.0, 5.0, np.nan])])
    np.testing.assert_array_equal(means, [2.0, 5.0, np.nan])


def test_nothing_divided_by_nothing_is_undefined():
    np.testing.assert_array_equal(divide(np.array([0.0, 1.0]), np.array([0.0, 2.0])), [np.nan, 0.5])
