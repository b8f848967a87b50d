import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from hf_transfer.scores.statistics import roc_curves


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 3)), min_size=2, max_size=30))
def test_area_of_weighted_rows_is_that_of_repeated_rows(rows):
    positive, scores, weights = (np.asarray(column) for column in zip(*rows, strict=True))
    labels, probabilities = positive.astype(np.int64), np.stack([-scores, scores], axis=1).astype(float)
    curves = roc_curves(np.arange(len(rows)), labels, probabilities)
    repeated = np.repeat(np.arange(len(rows)), weights)
    if len(np.unique(labels[repeated])) < 2:
        assert all(np.isnan(curve.area(weights[None].astype(float))).all() for curve in curves)
    else:
        expected = roc_auc_score(labels[repeated], scores[repeated])
        assert curves[0].area(weights[None].astype(float))[0] == pytest.approx(expected)
