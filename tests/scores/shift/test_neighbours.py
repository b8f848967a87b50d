import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from hf_transfer.scores.shift.neighbours import nearest_rows, seen_from


def tables(width=6):
    rng = np.random.default_rng(0)
    scale = rng.uniform(0.5, 5, width)
    return rng.normal(size=(700, width)) * scale, rng.normal(size=(90, width)) * scale + 0.5


def test_neighbours_are_those_of_scikit_learn():
    first, second = tables()
    scaler = StandardScaler().fit(first)
    known = NearestNeighbors(n_neighbors=2).fit(scaler.transform(first))
    distances, rows = known.kneighbors(scaler.transform(second))
    found = nearest_rows(first, second)
    assert found.rows.tolist() == rows[:, 0].tolist()
    assert found.distances == pytest.approx(distances[:, 0] / np.sqrt(6))
    own = known.kneighbors(scaler.transform(first))[0][:, 1] / np.sqrt(6)
    assert found.far == pytest.approx(np.quantile(own, 0.95))


def test_rows_of_one_domain_are_seldom_far_and_others_are_named():
    first, second = np.split(tables()[0], 2)
    assert nearest_rows(first, second).share_far == pytest.approx(0.05, abs=0.04)
    second = second.copy()
    second[17] += 100
    assert nearest_rows(first, second).farthest(1).tolist() == [17]
    assert nearest_rows(first, second + 100).share_far == 1


def test_the_axes_are_those_of_the_first_alone():
    first, second = tables()
    scaler = StandardScaler().fit(first)
    pca = PCA(2).fit(scaler.transform(first))
    known, new, explained = seen_from(first, second)
    assert np.abs(known) == pytest.approx(np.abs(pca.transform(scaler.transform(first))), abs=1e-6)
    assert np.abs(new) == pytest.approx(np.abs(pca.transform(scaler.transform(second))), abs=1e-6)
    assert explained == pytest.approx(pca.explained_variance_ratio_)
    assert np.array_equal(seen_from(first, second * 9 + 1)[0], known)


def test_one_feature_has_one_axis():
    first, second = tables(1)
    known, new, explained = seen_from(first, second)
    assert (known.shape, new.shape) == ((700, 2), (90, 2))
    assert explained == pytest.approx((1, 0))
    assert not known[:, 1].any()
