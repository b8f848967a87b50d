import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.linear_model import RidgeCV
from sklearn.neighbors import KNeighborsClassifier

from hf_transfer.errors import DataError
from hf_transfer.folds import FoldColumns, plan_folds
from hf_transfer.scores.transferability import Probe, choose_inside, knn_probe, ridge_probe, splits_of
from hf_transfer.scores.transferability.ridge import PENALTIES, Ridge


def folds(n, k=5):
    rows = np.arange(n)
    return [(rows[rows % k != i], rows[rows % k == i]) for i in range(k)]


@pytest.fixture(scope="module")
def digits():
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))[:600]
    return pixels[order], labels[order]


def accuracy(probe, labels):
    return (probe.of_rows(len(labels)) == labels).mean()


def test_pixels_tell_digits_and_noise_does_not(digits):
    pixels, labels = digits
    noise = np.random.default_rng(1).normal(size=pixels.shape)
    assert accuracy(knn_probe(pixels, labels, folds(600)), labels) > 0.91
    assert accuracy(ridge_probe(pixels, labels, folds(600)), labels) > 0.88
    assert accuracy(knn_probe(noise, labels, folds(600)), labels) == pytest.approx(0.1, abs=0.05)
    assert accuracy(ridge_probe(noise, labels, folds(600)), labels) == pytest.approx(0.1, abs=0.05)


@pytest.mark.parametrize("d", [5, 60])
def test_ridge_is_scikit_learns_with_the_penalty_of_least_gcv_error(d):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(50, d)) * rng.uniform(0.1, 10, d)
    labels = (features[:, 0] / features[:, 0].std() + rng.normal(size=50) > 0).astype(int)
    train, valid = np.arange(40), np.arange(40, 50)
    probe = ridge_probe(features, labels, [(train, valid)])
    standard = (features - features[train].mean(0)) / features[train].std(0)
    unit = Ridge(features[train]).eigenvalues.mean()
    target = np.eye(2)[labels]
    own = SklearnRidge(alpha=probe.settings[0] * unit).fit(standard[train], target[train])
    assert probe.decisions[0] == pytest.approx(own.predict(standard[valid]), abs=1e-8)
    left_out = RidgeCV(PENALTIES * unit, fit_intercept=True, store_cv_results=True).fit(
        standard[train], target[train]
    )
    errors = left_out.cv_results_.mean(axis=(0, 1))
    chosen = list(PENALTIES).index(probe.settings[0])
    assert errors[chosen] < 1.1 * errors.min()  # leave-one-out and its generalised form differ a little


@given(st.integers(0, 1000), st.booleans())
@settings(deadline=None, max_examples=15)
def test_held_out_rows_have_no_say(seed, balanced):
    rng = np.random.default_rng(seed)
    features, labels = rng.normal(size=(30, 6)), np.arange(30) % 3
    train, valid = np.arange(20), np.arange(20, 30)
    other = labels.copy()
    other[valid] = rng.integers(0, 3, 10)
    for probe in (ridge_probe, knn_probe):
        first = probe(features, labels, [(train, valid)], balanced=balanced)
        second = probe(features, other, [(train, valid)], balanced=balanced)
        assert np.array_equal(first.decisions[0], second.decisions[0])
        changed = features.copy()
        changed[valid[1:]] += 100  # neither may another held-out row
        third = probe(changed, labels, [(train, valid)], balanced=balanced)
        assert third.decisions[0][0] == pytest.approx(first.decisions[0][0])


@given(st.integers(0, 1000), st.floats(1e-4, 1e4))
@settings(deadline=None, max_examples=15)
def test_units_do_not_matter(seed, scale):
    rng = np.random.default_rng(seed)
    features, labels = rng.normal(size=(30, 40)), np.arange(30) % 3
    for probe in (ridge_probe, knn_probe):
        plain, scaled = (probe(x, labels, folds(30)) for x in (features, scale * features))
        for one, other in zip(plain.decisions, scaled.decisions, strict=True):
            assert one == pytest.approx(other, rel=1e-5, abs=1e-6)


def test_neighbours_vote_as_scikit_learns_do():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(90, 4)), rng.integers(0, 3, 90)
    train, valid = np.arange(60), np.arange(60, 90)
    probe = knn_probe(features, labels, [(train, valid)], num_neighbours=7)
    votes = (
        KNeighborsClassifier(7, metric="cosine")
        .fit(features[train], labels[train])
        .predict_proba(features[valid])
    )
    assert np.array_equal(np.round(probe.decisions[0]), np.round(7 * votes))


def test_balanced_probes_find_a_rare_class():
    rng = np.random.default_rng(0)
    labels = (np.arange(300) % 15 == 0).astype(int)
    features = rng.normal(size=(300, 3)) + 1.5 * labels[:, None]
    for probe in (ridge_probe, knn_probe):
        plain, balanced = (
            probe(features, labels, folds(300, 4), balanced=b).of_rows(300) for b in (False, True)
        )
        assert (balanced[labels == 1] == 1).mean() > (plain[labels == 1] == 1).mean() + 0.2


def test_constant_features_and_a_single_training_class_are_no_error():
    labels = np.array([0, 0, 0, 1, 1])
    probe = ridge_probe(np.ones((5, 2)), labels, [(np.arange(3), np.arange(3, 5))])
    assert probe.of_rows(5).tolist() == [-1, -1, -1, 0, 0]


def test_the_layer_is_chosen_by_training_rows_alone(digits):
    pixels, labels = digits
    noise = np.random.default_rng(1).normal(size=pixels.shape)
    probes = {
        "noise": ridge_probe(noise, labels, folds(600)),
        "pixels": ridge_probe(pixels, labels, folds(600)),
    }
    chosen = choose_inside(probes)
    assert chosen.settings == ("pixels",) * 5
    assert np.array_equal(chosen.of_rows(600), probes["pixels"].of_rows(600))
    mixed = choose_inside(
        {"a": with_criteria(probes["noise"], (1, 0)), "b": with_criteria(probes["pixels"], (0, 1))}
    )
    assert mixed.settings == ("b", "a")


def with_criteria(probe, criteria):
    return Probe(probe.splits[:2], probe.decisions[:2], criteria)


def test_nothing_is_chosen_without_a_criterion(digits):
    with pytest.raises(DataError, match="a criterion each"):
        choose_inside({"k-NN": knn_probe(*digits, folds(600))})
    with pytest.raises(DataError, match="got none"):
        choose_inside({})


def test_words_go_where_their_sentence_goes():
    plan = plan_folds(range(6), 3, seed=0, columns=FoldColumns(groups=[0, 0, 1, 1, 2, 2]))
    row_of = np.repeat(np.arange(6), 4)
    for (train, valid), fold in zip(splits_of(plan, row_of), range(3), strict=True):
        assert set(row_of[valid]) == set(plan.valid(fold))
        assert set(row_of[train]) == set(plan.train(fold))
        assert len(train) + len(valid) == 24
    for (train, valid), fold in zip(splits_of(plan), range(3), strict=True):
        assert (train.tolist(), valid.tolist()) == (sorted(plan.train(fold)), sorted(plan.valid(fold)))


def test_what_walking_forward_leaves_out_stays_out():
    plan = plan_folds(range(8), 4, seed=0, columns=FoldColumns(times=list(range(8))), scheme="walk-forward")
    probe = ridge_probe(np.arange(8.0)[:, None], np.arange(8) % 2, splits_of(plan))
    assert (probe.of_rows(8)[:2] == -1).all()
    assert (probe.of_rows(8)[2:] >= 0).all()


@pytest.mark.parametrize("probe", [ridge_probe, knn_probe])
@pytest.mark.parametrize(
    ("labels", "splits", "message"),
    [
        ([0, 1], folds(4, 2), "for each of 4 rows"),
        ([0, 1, 0, 1], [], "rows to learn from and rows to score"),
        ([0, 1, 0, 1], [(np.arange(4), np.arange(0))], "rows to learn from and rows to score"),
    ],
)
def test_what_does_not_fit_is_an_error(probe, labels, splits, message):
    with pytest.raises(DataError, match=message):
        probe(np.eye(4), labels, splits)


@pytest.mark.parametrize(("n", "d"), [(40, 5), (40, 60)])
@pytest.mark.parametrize("penalty", [PENALTIES[0], 1.0, PENALTIES[-1]])
def test_the_error_of_left_out_folds_is_that_of_models_which_never_saw_them(n, d, penalty, monkeypatch):
    monkeypatch.setattr("hf_transfer.scores.transferability.ridge.PENALTIES", np.array([penalty]))
    rng = np.random.default_rng(0)
    features = rng.normal(size=(n, d)) * rng.uniform(0.1, 10, d)
    targets = rng.normal(size=(n, 2, 3))
    parts = np.minimum(np.arange(n) // 3, 2)  # two small folds, and one of more rows than features
    ridge = Ridge(features)
    off = []
    for part in range(3):
        learn, check = ridge.standard[parts != part], ridge.standard[parts == part]
        for labelling in range(3):
            own = SklearnRidge(alpha=penalty * ridge.eigenvalues.mean())
            own.fit(learn, targets[parts != part, :, labelling])
            off.append(((own.predict(check) - targets[parts == part, :, labelling]) ** 2).sum())
    expected = np.array(off).reshape(3, 3).sum(axis=0) / n
    assert ridge.fit(targets, parts).errors == pytest.approx(expected, rel=1e-6)


def test_a_single_fold_or_none_leaves_the_choice_to_gcv():
    rng = np.random.default_rng(0)
    ridge, targets = Ridge(rng.normal(size=(30, 4))), rng.normal(size=(30, 1, 1))
    plain, single = ridge.fit(targets), ridge.fit(targets, np.zeros(30, int))
    assert (plain.errors, plain.penalties) == (single.errors, single.penalties)


def test_copies_of_rows_change_no_choice_by_folds_and_mislead_gcv():
    rng = np.random.default_rng(0)
    features, folds = rng.normal(size=(40, 60)), np.arange(40) % 5
    targets = np.eye(2)[(features[:, 0] + rng.normal(size=40) > 0).astype(int)][:, :, None]
    once, copied = Ridge(features), Ridge(np.repeat(features, 4, axis=0))
    fits = [once.fit(targets, folds), copied.fit(np.repeat(targets, 4, axis=0), np.repeat(folds, 4))]
    assert fits[1].penalties == fits[0].penalties
    assert fits[1].errors == pytest.approx(fits[0].errors)
    by_gcv = copied.fit(np.repeat(targets, 4, axis=0))
    assert by_gcv.penalties < fits[0].penalties / 100
    assert by_gcv.errors < fits[0].errors / 10
